"""Runs of equal shapes trained together: weights with a leading axis, products batched (`--stack N`).

The products of one small network leave a GPU idle; those of N networks fill it. A member of a stack is a Trainer with a
run folder of its own, whose weights and moments are rows of the stack's. It ends on its own, but its row is computed
until all have ended, so that products keep their size: a member depends on the number of its companions, by rounding,
and on nothing else of them. Its `seconds` are the whole stack's. For 20 steps its metrics are those of the run alone to
1e-5; with Muon to 1e-3, for bfloat16, in which it orthogonalises, makes the last bits of a gradient its third digit.

A member saves its state when the stack is asked to stop, and once a minute. It goes on from there in a stack or alone,
but rounds as its new company does. Members may go on from different steps.

Names in the shapes: N members of P weights each, B sequences, T tokens, S scored tokens, V tokens in the vocabulary.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from lib.config import RunConfig
from lib.data import IGNORE, Batch, batch_rows
from lib.loop import Diverged
from lib.objective import EVAL_TOKENS, Row, last_step, scored_logits
from lib.support import processes
from lib.support.errors import UserError, say, shortened
from lib.support.files import sole_use
from lib.training import datasets
from lib.training.folder import SUMMARY, divergence, read_json
from lib.training.stacked import StackedSplit, StackedWeights, numbers, tell_steps
from lib.training.trainer import Interrupted, Trainer, prepared

SAVE_S, REPORT_S = 60, 15  # seconds between two saved states of a member, and between two lines on the screen
BLOCK = 16  # steps whose batches and rates go to the device at once

OWN = ("data.split_seed", "data.label_noise")  # of data and model, what may differ; of the rest, what may not:
SHARED = ("optim.name", "optim.orthogonal", "optim.methods", "train.batch_size", "train.precision")
WORKS_WITH: dict[str, tuple[Any, ...]] = {
    **{"data.task": ("arithmetic",), "model.kind": ("transformer",), "model.dropout": (0.0,)},
    **{"optim.name": ("adamw", "adam", "muon"), "optim.orthogonal": (False,), "optim.methods": ("",)},
    **{"train.precision": ("float32", "bfloat16"), "train.accumulation": (1,)},
}


def shape(config: RunConfig) -> dict[str, Any]:
    """The fields that all members of a stack share."""
    shared = {*SHARED, *WORKS_WITH}
    fields = config.flat().items()
    return {n: x for n, x in fields if n in shared or (n.startswith(("data.", "model.")) and n not in OWN)}


def check(config: RunConfig, first: RunConfig) -> None:
    """Raises UserError, naming the field, if a run cannot be in a stack, or not with the first of its members."""
    of_first = shape(first)
    for name, value in shape(config).items():
        for values, why in ((WORKS_WITH.get(name, (value,)), ""), ((of_first[name],), ", as of its first run")):
            if value not in values:
                allowed = " or ".join(map(shortened, values))
                raise UserError(f"{name} = {shortened(value)}: must be {allowed} in a stack{why}")


def stacks(runs: Mapping[Path, RunConfig], size: int) -> list[dict[Path, RunConfig]]:
    """The runs in stacks of at most `size` equal shapes. Raises UserError if a run cannot be in a stack."""
    alike: defaultdict[tuple[Any, ...], list[Path]] = defaultdict(list)
    for folder, config in runs.items():
        check(config, config)
        alike[tuple(shape(config).values())].append(folder)
    cuts = [folders[i : i + size] for folders in alike.values() for i in range(0, len(folders), size)]
    return [{folder: runs[folder] for folder in folders} for folders in cuts]


class Member(Trainer):
    """A run whose steps a stack takes."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.saved_at = time.monotonic()
        self.loop.losses = [loss.cpu() for loss in self.loop.losses]  # a resumed run's: the stack hands out such

    def save_state(self) -> None:
        """Save what the run alone would save, if that was long ago or the run is to stop."""
        if self.stopped() or time.monotonic() - self.saved_at >= SAVE_S:
            tell_steps(self.optimizer, self.loop.step)
            super().save_state()
            self.saved_at = time.monotonic()


class Stack:
    """N runs in training; `running` has those that have not ended, by their rows."""

    def __init__(self, members: Sequence[Member], device: str) -> None:
        self.members, self.device, self.running = members, device, dict(enumerate(members))
        self.failed: list[str] = []
        self.losses: list[Tensor] = []  # (N,) of each step since they were last handed out
        self.plan: list[tuple[Tensor, Tensor]] = []  # rows (N, B) and numbers (12, N, 1) of the next steps
        self.reported = time.monotonic()
        sets = {member.config.data: member.data for member in members}
        number = dict(zip(sets, range(len(sets)), strict=True))
        which = torch.tensor([number[member.config.data] for member in members], device=device)
        names, self.scoring = members[0].data.splits, members[0].data.scoring
        self.splits = {name: StackedSplit([data.splits[name] for data in sets.values()], which) for name in names}
        networks, optimizers = [member.model for member in members], [member.optimizer for member in members]
        self.weights = StackedWeights(networks, optimizers, device)

    def run(self) -> None:
        """Train all members to their ends. Raises Interrupted when asked to stop before."""
        with processes.stop_signal() as stopped:
            for row, member in [*self.running.items()]:
                member.loop.last_step = last_step(member.config.train, self.splits, member.loop.rows)
                self.let(row, lambda: None)
            self.evaluate([row for row, member in self.running.items() if not member.loop.rows])
            while self.running:
                self.take_step()
                loops = {row: member.loop for row, member in self.running.items()}
                due = [row for row, x in loops.items() if x.step in x.eval_steps or x.step == x.last_step]
                if due:
                    self.evaluate(due)
                if self.running and stopped():
                    self.stop()

    def take_step(self) -> None:
        """One step of each member; nothing in it waits for the device."""
        self.plan = self.plan or self.next_steps()
        rows, rates = self.plan.pop(0)
        logits, targets = self.scored(self.splits["train"][rows])
        losses = nll(logits, targets).sum(1) / (targets != IGNORE).sum(1)
        self.weights.all.grad = None
        losses.sum().backward()
        self.weights.update(rates)
        self.losses.append(losses.detach())
        for member in self.running.values():
            member.loop.step += 1

    def next_steps(self) -> list[tuple[Tensor, Tensor]]:
        """The rows of the batches (N, B) and the numbers (12, N, 1) of the next steps, on the device."""
        n, size = self.splits["train"].size, self.members[0].config.train.batch_size
        steps = [(member, [member.loop.step + i for i in range(BLOCK)]) for member in self.members]
        rows = [torch.stack([batch_rows(n, size, at, member.config.seed) for at in some]) for member, some in steps]
        rates = torch.tensor([[numbers(member.optimizer, at) for at in some] for member, some in steps])
        on_device = torch.stack(rows, 1).to(self.device), rates.permute(1, 2, 0)[..., None].to(self.device)
        return list(zip(*on_device, strict=True))

    def scored(self, batch: list[Tensor | None]) -> tuple[Tensor, Tensor]:
        """Logits (N, S, V) and targets (N, S) of the members' batches."""
        member = self.members[0]

        def one(weights: dict[str, Tensor], *fields: Tensor) -> tuple[Tensor, Tensor]:
            def network(*args: Any, **options: Any) -> Tensor:
                return functional_call(member.model, weights, args, options)

            return scored_logits(network, Batch(*fields), self.scoring)

        in_dims = (0, 0, 0, None if batch[2] is None else 0)
        with sdpa_kernel(SDPBackend.MATH), member.objective.precision(self.weights.all.device):  # products that batch
            return torch.vmap(one, in_dims)(self.weights.by_name(), *batch)

    def evaluate(self, due: list[int]) -> None:
        """Show each member that is due what is measured of it. All are measured, so that products keep their size."""
        self.hand_out_losses()
        for member in self.running.values():
            member.tracker.clock.stop()
        measured = self.measure() if due else []
        for row in due:
            loop = self.running[row].loop
            about: Row = {"step": loop.step, "lr": loop.optimizer.lr(max(loop.step - 1, 0))}
            self.let(row, partial(loop.evaluate, about | measured[row]))
        for member in self.running.values():
            member.tracker.clock.start()
        if time.monotonic() - self.reported >= REPORT_S:
            self.reported, step = time.monotonic(), max(member.loop.step for member in self.members)
            say(f"stack of {len(self.members)}: step {step:,}, {len(self.members) - len(self.running)} done")

    @torch.no_grad()
    def measure(self) -> list[Row]:
        """Each member's loss and accuracy on every split, and its norms, brought from the device at once."""
        N, at_least = len(self.members), self.members[0].config.train.batch_size
        measured: dict[str, Tensor] = {}
        for name, split in self.splits.items():
            loss, n_right, n_scored = torch.zeros(3, N, dtype=torch.float64, device=self.device)
            every = torch.arange(split.size, device=self.device)
            for rows in every.split(max(at_least, EVAL_TOKENS // split.width // N)):
                logits, targets = self.scored(split[rows.expand(N, -1)])
                loss += nll(logits, targets).sum(1)
                right = (logits.argmax(-1) == targets) | (targets == IGNORE)
                n_right += right.reshape(N, len(rows), -1).all(2).sum(1)
                n_scored += (targets != IGNORE).sum(1)
            measured |= {f"{name}_loss": loss / n_scored, f"{name}_acc": n_right / split.size}
        measured |= self.weights.norms()
        table = torch.stack([values.double() for values in measured.values()], 1).tolist()
        return [{"grad_norm": None} | dict(zip(measured, values, strict=True)) for values in table]

    def hand_out_losses(self) -> None:
        """Give each member the losses of its steps; waits for the device."""
        of_members = torch.stack(self.losses, 1).cpu() if self.losses else []
        for row, member in self.running.items() if self.losses else ():
            member.loop.losses += of_members[row].unbind()
        self.losses = []

    def let(self, row: int, act: Callable[[], None]) -> None:
        """Let a member act. It ends if it has diverged, cannot go on, or has made its last step."""
        member = self.members[row]
        try:
            try:
                act()
                if member.loop.step < member.loop.last_step:
                    return
                member.finish()
            except Diverged as diverged:
                member.finish(diverged.step)
                self.failed.append(f"run {member.folder.name}: {divergence(read_json(member.folder / SUMMARY))}")
        except UserError as error:
            self.failed.append(f"run {member.folder.name}: {error}")
        del self.running[row]

    def stop(self) -> None:
        """Save the state of all that are running. Raises Interrupted."""
        self.hand_out_losses()
        for row, member in [*self.running.items()]:
            member.stopped = lambda: True
            with suppress(Interrupted):
                self.let(row, member.on_step)
        raise Interrupted(self.members[0].folder.parent, max(member.loop.step for member in self.members))


def nll(logits: Tensor, targets: Tensor) -> Tensor:
    """The cross-entropy of each scored token, in nats: (N, S, V), (N, S) -> (N, S)."""
    flat = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORE, reduction="none")
    return flat.view(targets.shape)


def train_stack(runs: Mapping[Path, RunConfig], device: str = "cpu") -> None:
    """Train the configs into their folders, all together, or go on from what is saved there.

    Raises UserError if they cannot be a stack, and at the end if a run failed; Interrupted if it is asked to stop.
    """
    first = next(iter(runs.values()))
    for config in runs.values():
        check(config, first)
    one_of_each = {config.data: config for config in runs.values()}
    loaded = {data: datasets.load_data(config).to(device) for data, config in one_of_each.items()}
    for config in runs.values():
        datasets.check_fit(config, loaded[config.data])
    with ExitStack() as held, prepared(first, device):
        for folder in runs:
            held.enter_context(sole_use(folder))
        members = [Member(config, loaded[config.data], folder, device) for folder, config in runs.items()]
        stack = Stack(members, device)
        for member in members:
            member.tracker.note(f"in a stack of {len(members)} runs")
        stack.run()
    if stack.failed:
        raise UserError("; ".join(stack.failed))
