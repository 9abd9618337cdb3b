"""The training loop, and `python -m lib.train NAME …`, its command line."""

import math
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from lib import checkpoint, distributed, inference, networks, optim, state, stats
from lib.backends import check_backends
from lib.config import RunConfig
from lib.data import IGNORE, Batch, Dataset, batch_rows
from lib.datasets import load_data
from lib.evaluate import Objective, answers, evaluate, evaluating, evaluation_steps, precision, spaced_steps
from lib.fields import UserError
from lib.machine import check_device, keep_freed_memory, peak_memory_mb, start_memory_mb, stop_signal
from lib.tracker import ExperimentTracker, Row, describe

OnEval = Callable[[Row], None]
SAMPLE_TOKENS = 48  # of the text that is continued at each evaluation
ASK_EVERY = 10  # steps: soon enough for torchrun, which waits 30 s before it kills


class Trainer:
    """One run: data, model, optimiser and tracker, resumed from the folder's state.pt if there is one."""

    def __init__(
        self,
        config: RunConfig,
        data: Dataset,
        folder: Path,
        device: str = "cpu",
        backends: Sequence[str] = (),
        shard: bool = False,
    ) -> None:
        self.config, self.folder, self.device = config, folder, device
        self.start_memory_mb = round(start_memory_mb(device), 1)
        self.data = data.to(device)
        self.scoring = self.data.scoring
        torch.manual_seed(config.seed)
        self.model = networks.make(config.model, self.data.tokenizer.vocab_size)
        self.model.checkpointing = config.train.activation_checkpointing
        objective = Objective(self.model, self.scoring, config.train)
        self.objective = distributed.spread(objective, device, shard)
        self.reading = objective.reading
        self.optimizer = optim.Optimizer(self.model, config, device)
        self.tracker = ExperimentTracker(folder, config, device, backends)
        self.eval_steps = evaluation_steps(config.train)
        self.answer_steps, self.weight_steps = (spaced_steps(config.train, growth) for growth in (1.5, 1.25))
        self.step, self.last_step = 0, config.train.max_steps
        self.losses: list[Tensor] = []  # of the steps since the last evaluation, still on the device
        self.grad_norm: Tensor | None = None  # of the step before the next evaluation, before clipping
        self.load_state()

    def run(self, on_eval: OnEval = lambda row: None) -> None:
        """Train to the end; `on_eval` sees each row of metrics. Raises Interrupted when asked to stop before."""
        if distributed.size() > 1:
            held = "all" if isinstance(self.objective, DistributedDataParallel) else "a part"
            self.tracker.note(f"{distributed.size()} processes, each with {held} of the weights")
        with stop_signal() as stopped, self.tracker.backends.opened(self.tracker.rows):
            try:
                if not self.tracker.rows:
                    on_eval(self.evaluate())
                self.last_step = self.find_last_step()
                self.tracker.start()
                while self.step < self.last_step:
                    self.take_step()
                    if self.step in self.eval_steps or self.step == self.last_step:
                        on_eval(self.evaluate())
                        self.tracker.start()
                    if self.step < self.last_step and self.agreed(stopped()):
                        self.stop()
            except Diverged as diverged:
                self.finish(diverged_at=diverged.step)
            else:
                self.save_weights(checkpoint.WEIGHTS, torch.float32)
                self.finish()

    def take_step(self) -> None:
        """One optimiser step; nothing in it waits for the device."""
        train = self.data.splits["train"]
        rows = batch_rows(train.size, self.config.train.batch_size, self.step, self.config.seed)
        mine = rows[distributed.rank() :: distributed.size()]
        parts = [train[part] for part in mine.chunk(self.config.train.accumulation)]
        losses = []
        self.optimizer.zero_grad()
        for part, share in zip(parts, shares_of(parts), strict=True):
            more_follow = len(losses) + 1 < len(parts) and isinstance(self.objective, DistributedDataParallel)
            # DDP exchanges gradients once, when whole; shards do so part by part, for whole gradients would not fit
            with self.objective.no_sync() if more_follow else nullcontext():
                loss = self.objective(part) * share
                self.optimizer.backward(loss)
            losses.append(loss.detach())
        self.optimizer.unscale()
        if self.step + 1 in self.eval_steps or self.step + 1 == self.last_step:
            self.grad_norm = self.optimizer.grad_norm()
        self.optimizer.step(self.step)
        self.losses.append(sum(losses))
        self.step += 1

    def agreed(self, stop: bool) -> bool:
        """Whether to stop here. Several processes ask each other now and then, so that none waits for one that left."""
        if distributed.size() == 1:
            return stop
        return self.step % ASK_EVERY == 0 and bool(distributed.total(torch.tensor(float(stop), device=self.device)))

    def check_losses(self) -> None:
        """Raises Diverged if the loss of a step since the last evaluation is not finite. Waits for the device."""
        finite = distributed.total(torch.stack(self.losses)).isfinite().tolist() if self.losses else []
        if not all(finite):
            raise Diverged(self.step - len(finite) + finite.index(False) + 1)

    def evaluate(self) -> Row:
        """Log a row of metrics and save the state. Raises Diverged if a loss is not finite."""
        self.check_losses()
        self.tracker.pause()
        metrics: dict[str, float | None] = {"step": self.step, "lr": self.optimizer.lr(max(self.step - 1, 0))}
        for name, batch in self.data.splits.items():
            with precision(self.config.train, self.device):
                both = torch.tensor(self.reading(evaluate, batch, self.scoring), dtype=torch.float64)
            metrics[f"{name}_loss"], metrics[f"{name}_acc"] = distributed.agreed(both.to(self.device)).tolist()
            if not math.isfinite(metrics[f"{name}_loss"]):
                raise Diverged(self.step)
        if self.config.data.task == "corpus":
            metrics["tokens"] = self.tokens_seen()
            metrics |= {f"{name}_ppl": math.exp(min(metrics[f"{name}_loss"], 700.0)) for name in self.data.splits}
        weights = [p.detach() for p in self.model.parameters()]
        metrics["grad_norm"] = None if self.grad_norm is None else self.grad_norm.item()
        metrics["weight_norm"] = optim.total_norm(weights).item()
        metrics["matrix_norm"] = optim.total_norm([p for p in weights if p.ndim >= 2]).item()
        self.losses = []
        row = self.tracker.log(**metrics)
        self.tracker.note(describe(row))
        self.last_step = self.find_last_step()
        self.keep()
        self.save_state()
        return row

    def keep(self) -> None:
        """Answers and weights on the way, if the config asks for them, and at the end."""
        at_end = self.step == self.last_step
        if self.config.train.keep_answers and (self.step in self.answer_steps or at_end):
            with precision(self.config.train, self.device):
                given = {name: self.reading(answers, batch).numpy() for name, batch in self.data.splits.items()}
            self.tracker.keep_answers(self.step, given)
        if self.config.train.prompt:
            options = {"n_tokens": SAMPLE_TOKENS, "temperature": 0.8, "seed": 0}
            with precision(self.config.train, self.device), evaluating(self.model):
                [sample] = self.reading(inference.sample, self.data.tokenizer, self.config.train.prompt, **options)
            self.tracker.keep_sample(self.step, sample)
        if self.config.train.keep_weights and (self.step in self.weight_steps or at_end):
            self.save_weights(f"{checkpoint.SNAPSHOTS}/{self.step}.safetensors", torch.float16)

    def tokens_seen(self) -> int:
        """Tokens that the network was trained on so far, each as often as it came."""
        return self.step * self.config.train.batch_size * self.config.data.window

    def find_last_step(self) -> int:
        """Where to stop: max_steps, or `go_on` times the step at which the run was solved.

        On all held-out splits, so that no run ends just before its T_grok: this decides nothing but its length.
        """
        options, rows = self.config.train, self.tracker.rows
        if options.stop_at:
            steps = [row["step"] for row in rows]
            held_out = [split for split in self.data.splits if split != "train"] or ["train"]
            accuracies = [[row[f"{split}_acc"] for row in rows] for split in held_out]
            solved = [stats.first_crossing(steps, accuracy, options.stop_at, stats.PATIENCE) for accuracy in accuracies]
            if None not in solved:
                return min(max(round(options.go_on * max(solved)), int(rows[-1]["step"])), options.max_steps)
        return options.max_steps

    def stop(self) -> None:
        """Save the state between two evaluations and raise Interrupted."""
        self.check_losses()
        self.tracker.pause()
        self.save_state()
        self.tracker.note(f"stopped at step {self.step}")
        raise Interrupted(self.folder, self.step)

    def finish(self, diverged_at: int | None = None) -> None:
        """Write summary.json. A diverged run is finished too; it keeps the state of its last good evaluation."""
        self.tracker.pause()
        rows, seconds = self.tracker.rows, self.tracker.time_s
        if not rows:
            raise UserError(f"{self.folder}: the loss is not finite before the first step; see model.init_scale")
        steps = [int(row["step"]) for row in rows]
        summary: dict[str, Any] = {"steps": self.step}
        summary |= {key: value for key, value in rows[-1].items() if key.endswith(("_loss", "_acc"))}
        summary["t_fit"] = stats.steps_to_fit(steps, [row["train_acc"] for row in rows])
        has_test = "test" in self.data.splits
        summary["t_grok"] = stats.steps_to_grok(steps, [row["test_acc"] for row in rows]) if has_test else None
        summary["seconds"] = round(seconds, 3)
        summary["steps_per_s"] = round(self.step / seconds, 3) if seconds else None
        summary["n_params"] = networks.n_params(self.model)
        if self.config.data.task == "corpus":
            summary["n_learnable"] = networks.n_params(self.model, learnable=True)
            summary["tokens_per_s"] = round(self.tokens_seen() / seconds, 1) if seconds else None
            summary["start_memory_mb"] = self.start_memory_mb
            summary |= self.data.facts
        summary["peak_memory_mb"] = round(peak_memory_mb(self.device), 1)
        if self.device == "cuda":
            summary["peak_reserved_mb"] = round(torch.cuda.max_memory_reserved() / 1e6, 1)
        if diverged_at is None:
            self.tracker.note(f"done in {seconds:.1f} s of training")
        else:
            summary["diverged_at"] = diverged_at
            norm = rows[-1]["grad_norm"]
            before = f"gradient norm {norm:.3g} at step {steps[-1]}" if norm is not None else "at the first steps"
            lr = self.optimizer.lr(diverged_at - 1)
            self.tracker.note(f"diverged: the loss of step {diverged_at} is not finite; learning rate {lr:g}, {before}")
        self.tracker.finish(summary, keep_state=diverged_at is not None)

    def save_weights(self, name: str, dtype: torch.dtype) -> None:
        path, tokenizer = self.folder / name, self.data.tokenizer
        checkpoint.save_weights(path, self.model, self.config, tokenizer, self.step, dtype)

    def save_state(self) -> None:
        losses, text = [float(loss) for loss in self.losses], self.data.facts.get("sha256")
        saved = {"step": self.step, "losses": losses, "text": text, "time_s": self.tracker.time_s}
        state.save(self.folder, self.model, self.optimizer, **saved)
        self.draw_apart()

    def load_state(self) -> None:
        saved = state.read(self.folder)
        if saved is None:
            return
        if saved["text"] != self.data.facts.get("sha256"):
            corpus = self.config.data.corpus
            raise UserError(f"data.corpus = {corpus!r}: has changed since this run was begun; use --fresh")
        state.restore(self.folder, saved, self.model, self.optimizer)
        self.step = saved["step"]
        self.losses = [torch.tensor(loss, device=self.device) for loss in saved["losses"]]
        self.tracker.rewind(self.step, saved["time_s"])
        self.draw_apart()
        self.tracker.note(f"resumed at step {self.step}")

    def draw_apart(self) -> None:
        """Other dropout in each further process than in the first, from a saved step on; the same if resumed there."""
        if distributed.rank():
            torch.manual_seed((self.config.seed * 1_000_003 + self.step) * 1_009 + distributed.rank())


class Diverged(Exception):
    def __init__(self, step: int) -> None:
        self.step = step


class Interrupted(UserError):
    """The run was asked to stop, and did so with its state saved."""

    def __init__(self, folder: Path, step: int) -> None:
        self.step = step
        super().__init__(f"stopped at step {step}; the state is saved in {folder}: the same call goes on from there")


def train(
    config: RunConfig,
    folder: Path,
    device: str = "cpu",
    on_eval: OnEval = lambda row: None,
    backends: Sequence[str] = (),
    shard: bool = False,
) -> None:
    """Train `config` into the run folder `folder`, or go on with it if it was begun.

    On the CPU in one thread, since the number of threads changes the last bits of a result: there the same config
    gives the same bits. The caller's thread count and random state are put back. `shard`: see lib.distributed. Raises
    UserError if the config, the folder, the device or a back end cannot work, or another process is at work in the
    folder.
    """
    check_device(device)
    check_backends(backends)
    if shard:
        distributed.check_shard(config)
    if device == "cpu" and config.model.kind == "lstm" and config.train.precision == "float16":
        raise UserError("train.precision = 'float16': must be float32 or bfloat16 for an LSTM on a CPU")
    data = load_data(config)
    keep_freed_memory()
    threads, products = torch.get_num_threads(), torch.get_float32_matmul_precision()
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if device == "cuda" else []):
        torch.set_num_threads(1)
        if device == "cuda" and config.train.precision != "float32":
            torch.set_float32_matmul_precision("high")  # what stays in float32 is multiplied as TF32
        torch.set_flush_denormal(True)  # tiny weights and moments under decay would slow the CPU several times
        try:
            with distributed.place(folder) as place:
                Trainer(config, data, place, device, () if distributed.rank() else backends, shard).run(on_eval)
        finally:
            torch.set_num_threads(threads)
            torch.set_float32_matmul_precision(products)
            torch.set_flush_denormal(False)


def shares_of(parts: list[Batch]) -> list[Tensor | float]:
    """The share of a batch's scored tokens that each of its parts has, times the processes, over which one averages."""
    if len(parts) == 1 and distributed.size() == 1:
        return [1.0]
    scored = torch.stack([(part.targets != IGNORE).sum() for part in parts]).float()
    return list(scored / distributed.total(scored.sum()) * distributed.size())


if __name__ == "__main__":
    from lib.cli import main

    sys.exit(main())
