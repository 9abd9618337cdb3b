"""The training loop, and `python -m lib.train NAME …`, its command line."""

import io
import math
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lib import arithmetic, checkpoint, fast, stats, text
from lib.config import RunConfig, TrainConfig, UserError
from lib.data import IGNORE, Batch, Dataset
from lib.model import Transformer
from lib.optim import Optimizer
from lib.tracker import ExperimentTracker, Row, write_atomically

EVAL_ROWS = 2048  # sequences per forward pass of an evaluation: bounds its memory, changes nothing else


def load_data(config: RunConfig) -> Dataset:
    """The data set of a config. Raises UserError if its sequences do not fit the model's context."""
    data = {"arithmetic": arithmetic, "text": text}[config.data.task].load(config.data)
    if data.longest > config.model.context_length:
        allowed = f"at least {data.longest}, the longest sequence of the data"
        raise UserError(f"model.context_length = {config.model.context_length}: must be {allowed}")
    return data


def batch_rows(n: int, batch_size: int, step: int, seed: int) -> Tensor:
    """Rows (batch_size,) of the batch of `step`, out of n.

    The batches are cut from an endless stream of permutations of all rows, one per epoch, so that every row is seen
    equally often and no batch is short. It depends on nothing but its arguments: a resumed run needs no sampler state.
    """
    if batch_size % n == 0:
        return torch.arange(n).repeat(batch_size // n)  # whole epochs: the order does not matter
    first, last = step * batch_size, (step + 1) * batch_size
    epochs = range(first // n, (last - 1) // n + 1)
    stream = torch.cat([permutation(n, seed, epoch) for epoch in epochs])
    return stream[first - epochs[0] * n : last - epochs[0] * n]


@lru_cache(maxsize=4)
def permutation(n: int, seed: int, epoch: int) -> Tensor:
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))


def scored_logits(model: Transformer, batch: Batch, last_only: bool) -> tuple[Tensor, Tensor]:
    """Logits (N, V) and targets (N,) of the positions that may be scored: the last of each sequence, or all."""
    if not last_only:
        return model(batch.tokens, batch.lengths).flatten(0, 1), batch.targets.flatten()
    if model.config.dropout or batch.tokens.is_cuda:  # on a GPU looking for prefixes would wait for the device
        return model(batch.tokens, last=True), batch.targets[:, -1]
    return fast.answer_logits(model, batch.tokens), batch.targets[:, -1]


def evaluate(model: Transformer, batch: Batch, last_only: bool) -> tuple[float, float]:
    """(loss, accuracy) over a whole split: nats per scored token; share of sequences with every scored token right."""
    model.eval()
    nll, n_right, n_scored = 0.0, 0, 0
    with torch.no_grad():
        for start in range(0, batch.size, EVAL_ROWS):
            part = batch[slice(start, start + EVAL_ROWS)]
            logits, targets = scored_logits(model, part, last_only)
            nll += F.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="sum").item()
            right = (logits.argmax(-1) == targets) | (targets == IGNORE)
            n_right += int(right.view(part.size, -1).all(1).sum())
            n_scored += int((targets != IGNORE).sum())
    model.train()
    return nll / n_scored, n_right / batch.size


def evaluation_steps(config: TrainConfig) -> set[int]:
    """The steps after which to evaluate: 0, then `eval_every` apart, then growing by `eval_growth`, and the last."""
    steps, step = {0, config.max_steps}, 0
    while step < config.max_steps:
        steps.add(step)
        step = max(step + config.eval_every, math.ceil(step * config.eval_growth))
    return steps


class Trainer:
    """One run: data, model, optimiser and tracker, resumed from the folder's state.pt if there is one."""

    def __init__(self, config: RunConfig, folder: Path, device: str = "cpu") -> None:
        self.config, self.folder, self.device = config, folder, device
        self.data = load_data(config).to(device)
        self.last_only = self.data.last_only
        torch.manual_seed(config.seed)
        self.model = Transformer(config.model, self.data.tokenizer.vocab_size).to(device)
        self.optimizer = Optimizer(self.model, config.optim, config.train.max_steps)
        self.tracker = ExperimentTracker(folder, config, device)
        self.eval_steps = evaluation_steps(config.train)
        self.step = 0
        self.losses: list[Tensor] = []  # of the steps since the last evaluation, still on the device
        self.load_state()

    def take_step(self) -> None:
        """One optimiser step; nothing in it waits for the device."""
        train = self.data.splits["train"]
        rows = batch_rows(train.size, self.config.train.batch_size, self.step, self.config.seed)
        batch = train[rows.to(self.device, non_blocking=True)]
        logits, targets = scored_logits(self.model, batch, self.last_only)
        loss = F.cross_entropy(logits, targets, ignore_index=IGNORE)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step(self.step)
        self.losses.append(loss.detach())
        self.step += 1

    def evaluate(self) -> Row:
        """Log a row of metrics and save the state. Raises Diverged if a loss since the last one is not finite."""
        self.tracker.pause()
        if self.losses:
            finite = torch.stack(self.losses).isfinite().tolist()
            if not all(finite):
                raise Diverged(self.step - len(finite) + finite.index(False) + 1)
        metrics: dict[str, float | None] = {"step": self.step, "lr": self.optimizer.lr(max(self.step - 1, 0))}
        for name, batch in self.data.splits.items():
            metrics[f"{name}_loss"], metrics[f"{name}_acc"] = evaluate(self.model, batch, self.last_only)
            if not math.isfinite(metrics[f"{name}_loss"]):
                raise Diverged(self.step)
        metrics["grad_norm"] = self.optimizer.grad_norm().item() if self.losses else None
        weights = [p.detach() for p in self.model.parameters()]
        metrics["weight_norm"] = torch.nn.utils.get_total_norm(weights).item()
        metrics["matrix_norm"] = torch.nn.utils.get_total_norm([p for p in weights if p.ndim >= 2]).item()
        self.losses = []
        row = self.tracker.log(**metrics)
        self.tracker.note(describe(row))
        self.save_state()
        self.tracker.start()
        return row

    def last_step(self) -> int:
        """Where to stop: max_steps, or `go_on` times the step at which the run was solved."""
        options, rows = self.config.train, self.tracker.rows
        if options.stop_at:
            split = "val" if "val" in self.data.splits else "train"
            accuracy = [row[f"{split}_acc"] for row in rows]
            solved = stats.first_crossing([row["step"] for row in rows], accuracy, options.stop_at, stats.PATIENCE)
            if solved is not None:
                return min(max(round(options.go_on * solved), int(rows[-1]["step"])), options.max_steps)
        return options.max_steps

    def run(self, on_eval: Callable[[Row], None] = lambda row: None) -> None:
        """Train to the end; `on_eval` sees each row of metrics. Raises Interrupted when asked to stop before."""
        with stop_signal() as stopped:
            if not self.tracker.rows:
                on_eval(self.evaluate())
            last = self.last_step()
            self.tracker.start()
            try:
                while self.step < last:
                    self.take_step()
                    if self.step in self.eval_steps or self.step == last:
                        on_eval(self.evaluate())
                        last = self.last_step()
                    if stopped() and self.step < last:
                        self.tracker.pause()
                        self.save_state()
                        self.tracker.note(f"stopped at step {self.step}")
                        raise Interrupted(self.folder, self.step)
            except Diverged as diverged:
                self.finish(diverged_at=diverged.step)
                return
            self.tracker.pause()
        checkpoint.save_weights(
            self.folder / checkpoint.WEIGHTS, self.model, self.config, self.data.tokenizer, self.step
        )
        self.finish()

    def finish(self, diverged_at: int | None = None) -> None:
        """Write summary.json. A diverged run is finished too; it keeps the state of its last good evaluation."""
        rows, seconds = self.tracker.rows, self.tracker.time_s
        steps = [int(row["step"]) for row in rows]
        summary: dict[str, Any] = {"steps": self.step}
        summary |= {key: value for key, value in rows[-1].items() if key.endswith(("_loss", "_acc"))}
        summary["t_fit"] = stats.steps_to_fit(steps, [row["train_acc"] for row in rows])
        has_test = "test" in self.data.splits
        summary["t_grok"] = stats.steps_to_grok(steps, [row["test_acc"] for row in rows]) if has_test else None
        summary["seconds"] = round(seconds, 3)
        summary["steps_per_s"] = round(self.step / seconds, 3) if seconds else None
        summary["n_params"] = self.model.n_params
        summary["peak_memory_mb"] = round(peak_memory_mb(self.device), 1)
        if diverged_at is not None:
            summary["diverged_at"] = diverged_at
            norm = rows[-1]["grad_norm"]
            before = f"gradient norm {norm:.3g} at step {steps[-1]}" if norm is not None else "at the first steps"
            lr = self.optimizer.lr(diverged_at - 1)
            self.tracker.note(f"diverged: the loss of step {diverged_at} is not finite; learning rate {lr:g}, {before}")
        else:
            self.tracker.note(f"done in {seconds:.1f} s of training")
        self.tracker.finish(summary, keep_state=diverged_at is not None)

    def save_state(self) -> None:
        """All that the rest of the run depends on; the order of the batches follows from the step."""
        state = {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state() if self.device == "cuda" else None,
            "losses": [float(loss) for loss in self.losses],
            "time_s": self.tracker.time_s,
        }
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_atomically(self.folder / "state.pt", buffer.getvalue())

    def load_state(self) -> None:
        path = self.folder / "state.pt"
        if not path.exists():
            return
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # whatever torch makes of a damaged file
            raise UserError(f"{path}: damaged ({error}); delete it to begin the run again") from None
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"])
        if state["cuda_rng"] is not None and self.device == "cuda":
            torch.cuda.set_rng_state(state["cuda_rng"])
        self.losses = [torch.tensor(loss, device=self.device) for loss in state["losses"]]
        self.tracker.rewind(self.step, state["time_s"])
        self.tracker.note(f"resumed at step {self.step}")


class Diverged(Exception):
    def __init__(self, step: int) -> None:
        self.step = step


class Interrupted(UserError):
    """The run was asked to stop, and did so with its state saved."""

    def __init__(self, folder: Path, step: int) -> None:
        super().__init__(f"stopped at step {step}; the state is saved in {folder}: the same command goes on from there")


def train(
    config: RunConfig, folder: Path, device: str = "cpu", on_eval: Callable[[Row], None] = lambda row: None
) -> None:
    """Train `config` into the run folder `folder`, or go on with it if it was begun.

    On the CPU in one thread, since the number of threads changes the last bits of a result; the caller's thread count
    and random state are put back. Raises UserError if the config, the folder or the device cannot work.
    """
    check_device(device)
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[0] if device == "cuda" else []):
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)  # tiny weights and moments under decay would slow the CPU several times
        try:
            Trainer(config, folder, device).run(on_eval)
        finally:
            torch.set_num_threads(threads)
            torch.set_flush_denormal(False)


def check_device(device: str) -> None:
    if device not in ("cpu", "cuda"):
        raise UserError(f"device = {device!r}: must be cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("device = 'cuda': there is no CUDA device here; must be cpu")


@contextmanager
def stop_signal() -> Iterator[Callable[[], bool]]:
    """Turns Ctrl-C and SIGTERM into a question that the loop asks between two steps. A no-op off the main thread."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped.is_set
        return
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(kind, lambda *_: stopped.set()) for kind in kinds]
    try:
        yield stopped.is_set
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)


def describe(row: Row) -> str:
    """A row of metrics as a person reads it."""
    parts = [f"step {int(row['step']):,}"]
    for split in ("train", "val", "test"):
        if row[f"{split}_loss"] is not None:
            parts.append(f"{split} loss {row[f'{split}_loss']:.3g}, accuracy {row[f'{split}_acc']:.1%}")
    return " · ".join(parts)


def peak_memory_mb(device: str) -> float:
    """Largest memory so far, MB: allocated on the GPU, or the process's resident set."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    try:
        import resource  # not on Windows
    except ImportError:
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


if __name__ == "__main__":
    from lib.cli import main

    sys.exit(main())
