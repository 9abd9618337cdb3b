"""Stored runs: open one, or have a list of configs trained as far as they are missing."""

import json
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import weakref
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np

from lib import checkpoint, stats
from lib.config import RunConfig, UserError
from lib.model import Transformer
from lib.tokenizer import Tokenizer
from lib.tracker import COLUMNS, Row, read_csv
from lib.train import check_device, describe, train

ROOT = Path(__file__).resolve().parent.parent
CHECKPOINTS = ROOT / "checkpoints"
TRIES = 3  # a worker that is killed is started again, from its saved state, so many times in all
QUIET_S = 15  # seconds between two progress lines of a run when the output is no terminal


class Run:
    """A finished run, in a folder or in a sweep's archive."""

    def __init__(self, path: Path | zipfile.Path) -> None:
        self.path = path
        if not (path / "summary.json").exists():
            raise UserError(f"{path}: not a finished run: it has no summary.json")
        self.config = RunConfig.from_dict(self.json("config.json"))
        self.summary = self.json("summary.json")
        rows = read_csv((path / "metrics.csv").read_text(encoding="utf-8"))
        as_float = {name: [np.nan if row[name] is None else row[name] for row in rows] for name in COLUMNS}
        self.metrics: dict[str, np.ndarray] = {name: np.array(column) for name, column in as_float.items()}

    def json(self, name: str) -> dict[str, Any]:
        return json.loads((self.path / name).read_text(encoding="utf-8"))

    @property
    def log(self) -> str:
        return (self.path / "train.log").read_text(encoding="utf-8")

    @property
    def t_fit(self) -> int | None:
        return self.summary["t_fit"]

    @property
    def t_grok(self) -> int | None:
        return self.summary["t_grok"]

    @property
    def delay(self) -> int | None:
        """T_grok - T_fit in steps; None if the run does not grok."""
        return None if self.t_grok is None or self.t_fit is None else self.t_grok - self.t_fit

    @property
    def lowest_after_grok(self) -> float | None:
        return stats.lowest_after(self.metrics["step"], self.metrics["test_acc"], self.t_grok)

    def results(self) -> dict[str, Any]:
        """What the report tells of the run: its summary, seed, delay and lowest test accuracy after T_grok."""
        more = {"seed": self.config.seed, "delay": self.delay, "lowest_after_grok": self.lowest_after_grok}
        return self.summary | more

    @property
    def diverged_at(self) -> int | None:
        return self.summary.get("diverged_at")

    def load(self) -> tuple[Transformer, Tokenizer, RunConfig]:
        """Model, tokenizer and config, from the stored weights. Raises UserError if the run keeps none."""
        if not isinstance(self.path, Path):
            raise UserError(f"{self.path}: an archived run keeps no weights; train it again with --fresh")
        return checkpoint.load_weights(self.path)


def find(experiment: str, config: RunConfig, root: Path = CHECKPOINTS) -> Run | None:
    """The finished run of `config`, from its folder or from the archive `<experiment>.zip`; None if there is none."""
    places: list[Path | zipfile.Path] = [root / experiment / config.id]
    archive = root / f"{experiment}.zip"
    if archive.exists():
        places.append(zipfile.Path(archive) / config.id)
    for place in places:
        if (place / "summary.json").exists():
            run = Run(place)
            if run.config == config:
                return run
    return None


def run_live(config: RunConfig, on_eval: Callable[[Row], None] = lambda row: None) -> Run:
    """Train here and now, in this process, for watching. `on_eval` sees each evaluation.

    The run's folder is a temporary one, and goes when the Run does.
    """
    folder = Path(tempfile.mkdtemp(prefix="run-"))
    train(config, folder, on_eval=on_eval)
    run = Run(folder)
    weakref.finalize(run, shutil.rmtree, folder, ignore_errors=True)
    return run


def agreement(live: Run, stored: Run) -> str:
    """How a run trained here compares with the stored one of the same config, at the evaluations both have.

    Equal on the same kind of processor; elsewhere rounding differs in the last bit, and training magnifies that.
    """
    steps = np.intersect1d(live.metrics["step"], stored.metrics["step"])
    losses = [run.metrics["train_loss"][np.isin(run.metrics["step"], steps)] for run in (live, stored)]
    apart = ~np.isclose(*losses, rtol=1e-6)
    if not apart.any():
        return f"the live run and the stored run agree at all {len(steps)} evaluations up to step {int(steps[-1]):,}"
    return f"the live run and the stored run agree before step {int(steps[apart][0]):,}; then rounding leads them apart"


def run_all(
    experiment: str,
    configs: Sequence[RunConfig],
    *,
    fresh: bool = False,
    workers: int | None = None,
    device: str = "cpu",
    root: Path = CHECKPOINTS,
) -> list[Run]:
    """The runs of `configs`, in their order; those that are not stored yet, or all if `fresh`, are trained first.

    Each in a process of its own with one thread, `workers` at a time (default: one per processor). A run cut off
    earlier goes on from its saved state. Raises UserError if one fails, after the others are done.
    """
    check_device(device)
    workers = workers or os.cpu_count() or 1
    folders = {config.id: root / experiment / config.id for config in configs}
    missing = [c for c in {c.id: c for c in configs}.values() if fresh or find(experiment, c, root) is None]
    if fresh:
        for config in missing:
            shutil.rmtree(folders[config.id], ignore_errors=True)
    if missing:
        kept = len(folders) - len(missing)
        print(f"{experiment}: {len(missing)} runs to train, {kept} stored", file=sys.stderr, flush=True)
        Pool(folders, device, workers).run(missing)
    runs = [find(experiment, config, root) for config in configs]
    return [run for run in runs if run is not None]


@dataclass
class Job:
    """One run being trained in a process of its own."""

    config: RunConfig
    process: Any
    errors: Connection
    begun: float = field(default_factory=time.monotonic)
    reported: float = 0.0


class Pool:
    """Trains configs in parallel processes, and shows how far each is.

    Written here because concurrent.futures gives up the whole pool when one worker is killed.
    """

    def __init__(self, folders: dict[str, Path], device: str, workers: int) -> None:
        self.folders, self.device, self.workers = folders, device, workers
        # a forked worker has torch imported already; platforms without it start each worker afresh
        method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        self.context = multiprocessing.get_context(method)
        if method == "forkserver":
            self.context.set_forkserver_preload(["lib.train"])
        self.tries: dict[str, int] = {}
        self.failed: list[str] = []

    def run(self, configs: Sequence[RunConfig]) -> None:
        waiting, jobs, self.n_runs = list(configs), [], len(configs)
        self.n_done = 0
        try:
            while waiting or jobs:
                while waiting and len(jobs) < self.workers:
                    jobs.append(self.begin(waiting.pop(0)))
                wait([job.process.sentinel for job in jobs], timeout=1)
                for job in [job for job in jobs if job.process.exitcode is not None]:
                    jobs.remove(job)
                    if self.end(job):
                        waiting.insert(0, job.config)
                for job in jobs:
                    self.report(job)
        except KeyboardInterrupt:
            for job in jobs:
                job.process.terminate()
            for job in jobs:
                job.process.join()
            raise UserError("stopped; the state of each run is saved: the same command goes on from there") from None
        if self.failed:
            raise UserError("; ".join(self.failed))

    def begin(self, config: RunConfig) -> Job:
        receiver, sender = self.context.Pipe(duplex=False)
        self.tries[config.id] = self.tries.get(config.id, 0) + 1
        process = self.context.Process(target=work, args=(config, self.folders[config.id], self.device, sender))
        process.start()
        sender.close()
        return Job(config, process, receiver)

    def end(self, job: Job) -> bool:
        """Take note of a process that ended; True if its run must be started again."""
        name = self.folders[job.config.id].name
        try:
            error = job.errors.recv()
        except EOFError:
            error = f"killed (exit code {job.process.exitcode})"
            if self.tries[job.config.id] < TRIES:
                self.print(f"{name}: {error}; it goes on from its saved state")
                return True
        self.n_done += 1
        if error:
            self.failed.append(f"run {name}: {error}")
        self.print(f"[{self.n_done}/{self.n_runs}] {self.status(job)} · {'failed' if error else 'done'}")
        return False

    def status(self, job: Job) -> str:
        """ "3f2a91c07b step 1,200 · train loss … · 21 steps/s · 1:05 left", from the last row of its metrics."""
        folder = self.folders[job.config.id]
        path = folder / "metrics.csv"
        rows = read_csv(path.read_text()) if path.exists() else []
        if not rows:
            return f"{folder.name} starting"
        step, seconds = rows[-1]["step"], rows[-1]["time_s"]
        text = f"{folder.name} {describe(rows[-1])}"
        if step and seconds:
            left = int((job.config.train.max_steps - step) * seconds / step)
            text += f" · {step / seconds:.0f} steps/s · at most {left // 60}:{left % 60:02d} left"
        return text

    def report(self, job: Job) -> None:
        """A line now and then: every second on a terminal, in place if it is the only run; else sparsely."""
        now = time.monotonic()
        alone = sys.stderr.isatty() and self.n_runs - self.n_done == 1
        if now - max(job.begun, job.reported) >= (1 if alone else QUIET_S):
            job.reported = now
            print(
                ("\r\033[K" if alone else "") + self.status(job), end="" if alone else "\n", file=sys.stderr, flush=True
            )

    def print(self, text: str) -> None:
        print(("\r\033[K" if sys.stderr.isatty() else "") + text, file=sys.stderr, flush=True)


def work(config: RunConfig, folder: Path, device: str, errors: Connection) -> None:
    """What a worker process does: train one run, and send None or what went wrong."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent decides
    parent = multiprocessing.parent_process()
    if parent is not None:  # never train on without a parent: its successor will take the run up again
        threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()
    try:
        train(config, folder, device)
        diverged_at = json.loads((folder / "summary.json").read_text()).get("diverged_at")
        errors.send(None if diverged_at is None else divergence(folder))
    except UserError as error:
        errors.send(str(error))
    except Exception as error:  # a defect of ours: the parent reports it, the other runs go on
        errors.send(f"{type(error).__name__}: {error}")
        raise


def divergence(folder: Path) -> str:
    """The last line of the log of a diverged run: step, learning rate and gradient norm."""
    return (folder / "train.log").read_text().splitlines()[-1].split("  ", 1)[-1].strip()
