"""One run, from its config to a finished run folder: the loop of lib/loop.py, resumed, stopped, tracked and saved."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from lib.config import RunConfig, TrainConfig
from lib.data import Dataset
from lib.language import corpora, networks
from lib.language.chunks import CorpusObjective
from lib.loop import Diverged, Loop
from lib.methods import lion
from lib.methods.make import make_methods
from lib.objective import EVAL_TOKENS, Objective, Row, evaluating, steps_to_fit, steps_to_grok
from lib.optim import Optimizer
from lib.sampling import sample
from lib.support import machine, processes
from lib.support.errors import UserError
from lib.training import datasets, distributed, prefixes, state, tracker, weights
from lib.training.backends import Names, check_backends
from lib.training.folder import SNAPSHOTS, WEIGHTS, at_chance, describe, spaced_steps
from lib.training.muon import StackedMuon

Show = Callable[[Row], None]
SAMPLE_TOKENS = 48  # of the text that is continued at each evaluation
ASK_EVERY = 10  # steps: soon enough for torchrun, which waits 30 s before it kills


class Interrupted(KeyboardInterrupt):
    """The run was asked to stop, and did so with its state saved. No `except Exception` swallows it."""

    def __init__(self, folder: Path, step: int) -> None:
        self.step = step
        super().__init__(f"stopped at step {step}; the state is saved in {folder}: the same call goes on from there")


def ignore(row: Row) -> None:
    """Show nothing."""


def never() -> bool:
    """Nobody asks the run to stop, but by a signal."""
    return False


class Trainer:
    """One run: its loop and its tracker, resumed from the folder's state.pt if there is one."""

    def __init__(
        self,
        config: RunConfig,
        data: Dataset,
        folder: Path,
        device: str = "cpu",
        backends: Names = (),
        shard: bool = False,
    ) -> None:
        self.config, self.folder, self.device = config, folder, device
        self.start_memory_mb = round(machine.start_memory_mb(device), 1)
        self.data = data.to(device)
        torch.manual_seed(config.seed)
        self.model = networks.make(config.model, self.data.tokenizer.vocab_size)
        self.model.checkpointing = config.train.activation_checkpointing
        self.objective = make_objective(self.model, self.data, config.train)
        shared = distributed.parallelise(self.objective, device, shard)
        muon = torch.optim.Muon if shard else StackedMuon  # whole in each process: one matrix at a time, not all
        self.optimizer = Optimizer(self.model, config, device, lion.make, muon)
        self.optimizer.methods = make_methods(config, self.model, self.optimizer, lambda: self.tracker.rows)
        self.tracker = tracker.ExperimentTracker(folder, config, device, backends)
        parts = (self.objective, self.data, self.optimizer, config.train, config.seed, self.on_evaluation, self.on_step)
        self.loop = Loop(*parts) if distributed.size() == 1 else distributed.SharedLoop(shared, *parts)
        self.loop.clock = self.tracker.clock
        self.spaced_steps = spaced_steps(config.train)
        self.show: Show = ignore
        self.asked = self.stopped = never
        self.load_state()

    def run(self, show: Show = ignore, asked: Callable[[], bool] = never) -> None:
        """Train to the end; `show` sees each row of metrics. Raises Interrupted when asked to stop before.

        `asked` is called between two steps: it may do what must be done now and then, and tells whether to stop.
        """
        self.show, self.asked = show, asked
        if isinstance(self.loop, distributed.SharedLoop):
            self.tracker.note(self.loop.described)
        with processes.stop_signal() as self.stopped, self.tracker.backends.opened(self.tracker.rows):
            try:
                self.loop.run()
            except Diverged as diverged:
                self.finish(diverged_at=diverged.step)
            else:
                self.finish()

    def on_evaluation(self, metrics: Row) -> None:
        """Log a row of metrics, keep what the config asks for, and save the state."""
        if self.config.data.task == "corpus":
            metrics = metrics | {"tokens": self.tokens_seen()}
            metrics |= {f"{name}_ppl": math.exp(min(metrics[f"{name}_loss"], 700.0)) for name in self.data.splits}
        row = self.tracker.add_row(metrics)
        self.tracker.note(describe(row))
        self.keep()
        self.save_state()
        self.show(row)

    def on_step(self) -> None:
        """Stop between two steps if asked to; otherwise a no-op."""
        if self.loop.step < self.loop.last_step and self.agreed(self.stopped() or self.asked()):
            self.loop.check_losses()
            self.tracker.clock.stop()
            self.save_state()
            self.tracker.note(f"stopped at step {self.loop.step}")
            raise Interrupted(self.folder, self.loop.step)

    def agreed(self, stop: bool) -> bool:
        """Whether to stop here. Several processes ask each other now and then, so that none waits for one that left."""
        if distributed.size() == 1:
            return stop
        asked = torch.tensor(float(stop), device=self.device)
        return self.loop.step % ASK_EVERY == 0 and bool(distributed.all_reduce(asked))

    def keep(self) -> None:
        """Answers, a sample and weights on the way, if the config asks for them."""
        step = self.loop.step
        now = step in self.spaced_steps or step == self.loop.last_step
        if self.config.train.keep_answers and now:
            given = {name: likeliest_tokens(self.objective, split) for name, split in self.data.splits.items()}
            self.tracker.keep_answers(step, {name: ids.numpy() for name, ids in given.items()})
        if self.config.train.prompt:
            prompt = (self.data.tokenizer, self.config.train.prompt, SAMPLE_TOKENS)
            with distributed.same_logits(self.model):
                [text] = self.objective.with_network(sample, *prompt, temperature=0.8, seed=0)
            self.tracker.keep_sample(step, text)
        if self.config.train.keep_weights and now:
            self.save_weights(f"{SNAPSHOTS}/{step}.safetensors", torch.float16)

    def tokens_seen(self) -> int:
        """Tokens that the network was trained on so far; a token that came twice counts twice."""
        return self.loop.step * self.config.train.batch_size * self.config.data.window

    def finish(self, diverged_at: int | None = None) -> None:
        """Write weights and summary.json. A diverged run keeps the state of its last good evaluation instead."""
        if diverged_at is None:
            self.save_weights(WEIGHTS, torch.float32)
        self.tracker.clock.stop()
        step, rows, seconds = self.loop.step, self.tracker.rows, self.tracker.clock.seconds
        if not rows:
            raise UserError(f"{self.folder}: the loss is not finite before the first step; see model.init_scale")
        steps = [int(row["step"]) for row in rows]
        test = [row["test_acc"] for row in rows] if "test" in self.data.splits else []
        summary: dict[str, Any] = {"steps": step}
        summary |= {key: value for key, value in rows[-1].items() if key.endswith(("_loss", "_acc"))}
        summary["t_fit"] = steps_to_fit(steps, [row["train_acc"] for row in rows])
        summary["t_grok"] = steps_to_grok(steps, test)
        summary |= {"seconds": round(seconds, 3), "steps_per_s": round(step / seconds, 3) if seconds else None}
        summary["n_params"] = networks.n_params(self.model)
        if self.config.data.task == "corpus":
            summary["n_learnable"] = networks.n_params(self.model, learnable=True)
            summary["tokens_per_s"] = round(self.tokens_seen() / seconds, 1) if seconds else None
            summary |= {"start_memory_mb": self.start_memory_mb} | self.data.facts
        summary["peak_memory_mb"] = round(machine.peak_memory_mb(self.device), 1)
        if self.device == "cuda":
            summary["peak_reserved_mb"] = round(torch.cuda.max_memory_reserved() / 1e6, 1)
        told = f"done in {seconds:.1f} s of training"
        if diverged_at is not None:
            norm, lr = rows[-1]["grad_norm"], self.optimizer.lr(diverged_at - 1)
            before = f"gradient norm {norm:.3g} at step {steps[-1]}" if norm is not None else "at the first steps"
            reason = f"the loss of step {diverged_at} is not finite; learning rate {lr:g}, {before}"
            summary |= {"diverged_at": diverged_at, "divergence": reason}
            told = f"diverged: {reason}"
        self.tracker.note(told)
        if at_chance(self.config, rows[-1], self.data.facts.get("unigram_loss")):
            self.tracker.note("at chance on its own train split: the network has learned nothing")
        self.tracker.finish(summary, keep_state=diverged_at is not None)

    def save_weights(self, name: str, dtype: torch.dtype) -> None:
        weights.save_weights(self.folder / name, self.model, self.config, self.data.tokenizer, self.loop.step, dtype)

    def save_state(self) -> None:
        losses, text = [float(loss) for loss in self.loop.losses], self.data.facts.get("sha256")
        saved = {"step": self.loop.step, "losses": losses, "text": text, "time_s": self.tracker.clock.seconds}
        state.save(self.folder, self.model, self.optimizer, **saved)
        distributed.seed_dropout(self.config.seed, self.loop.step)

    def load_state(self) -> None:
        saved = state.read(self.folder, mapped=distributed.size() > 1)
        if saved is None:
            return
        if self.config.data.task == "corpus":
            corpora.check_unchanged(self.config.data, saved["text"], "this run was begun")
        state.restore(self.folder, saved, self.model, self.optimizer)
        self.loop.step = saved["step"]
        self.loop.losses = [torch.tensor(loss, device=self.device) for loss in saved["losses"]]
        self.tracker.rewind(self.loop.step, saved["time_s"])
        self.loop.rows = list(self.tracker.rows)
        distributed.seed_dropout(self.config.seed, self.loop.step)
        self.tracker.note(f"resumed at step {self.loop.step}")


def make_objective(network: networks.Network, data: Dataset, config: TrainConfig) -> Objective:
    """The objective of a data set: a corpus in chunks, equations by shared prefixes."""
    if data.scoring == "all":
        return CorpusObjective(network, data.scoring, config)
    return Objective(network, data.scoring, config, prefixes.fastest(network, data))


def likeliest_tokens(objective: Objective, split: Any) -> torch.Tensor:
    """The likeliest token (N,), int16, after each sequence of a split without padding."""
    with evaluating(objective.network), objective.precision(next(objective.network.parameters()).device):
        parts = split.parts(EVAL_TOKENS)
        best = [objective.scored_logits(objective.network, part, "last")[0].argmax(-1) for part in parts]
    return torch.cat(best).to(torch.int16).cpu()


def train(
    config: RunConfig,
    folder: str | Path,
    device: str = "cpu",
    show: Show = ignore,
    backends: Names = (),
    shard: bool = False,
    asked: Callable[[], bool] = never,
) -> None:
    """Train `config` into the run folder `folder`, or resume the run in it; `show` and `asked`: see `Trainer.run`.

    A CPU run takes one thread: the number of threads changes the last bits of a result, and so does the kind of
    processor, so that the same config trains to other numbers elsewhere. The caller's thread count and
    random state are restored. `shard`: see lib/training/distributed.py. Raises UserError if the config, the folder, the
    device or a back end cannot work, or if another process is at work in the folder.
    """
    folder = Path(folder)
    machine.check_device(device)
    check_backends(backends)
    if shard:
        distributed.check_shard(config)
    if device == "cpu" and config.model.kind == "lstm" and config.train.precision == "float16":
        raise UserError("train.precision = 'float16': must be float32 or bfloat16 for an LSTM on a CPU")
    data = datasets.load_data(config)
    with prepared(config, device), distributed.place(folder) as place:
        Trainer(config, data, place, device, () if distributed.rank() else backends, shard).run(show, asked)


@contextmanager
def prepared(config: RunConfig, device: str) -> Iterator[None]:
    """Threads, memory and the precision of products as a run has them; afterwards, with random states, as before."""
    machine.keep_freed_memory()
    threads, products = torch.get_num_threads(), torch.get_float32_matmul_precision()
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if device == "cuda" else []):
        torch.set_num_threads(1)
        if device == "cuda" and config.train.precision != "float32":
            torch.set_float32_matmul_precision("high")  # what stays in float32 is multiplied as TF32
        torch.set_flush_denormal(True)  # tiny weights and moments under decay would slow the CPU several times
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.set_float32_matmul_precision(products)
            torch.set_flush_denormal(False)
