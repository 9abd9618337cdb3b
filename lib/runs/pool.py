"""Trains several runs at once, each in a process of its own, and shows how far each is."""

import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import ModuleType
from typing import Any

from lib.config import RunConfig
from lib.runs.replace import set_aside, settle
from lib.support.errors import UserError
from lib.support.processes import STOP_SIGNALS, ignoring_stops
from lib.training.folder import METRICS, STATE, SUMMARY, describe, divergence, read_json, read_metrics
from lib.training.trainer import train

TRIES = 3  # a worker that is killed is started again, from its saved state, so many times in all
STOPPED = "stopped before it began, and nothing of it is saved"
QUIET_S = 15  # seconds between two progress lines of a run when the output is no terminal


@dataclass
class Job:
    """One run being trained."""

    config: RunConfig
    folder: Path
    process: Any
    errors: Connection
    begun: float = field(default_factory=time.monotonic)
    reported: float = field(default_factory=time.monotonic)


class Pool:
    """Trains configs into folders, `workers` at a time; with `fresh`, each folder is emptied as its run begins.

    This pool survives a killed worker; concurrent.futures gives up the whole pool.
    """

    def __init__(self, device: str, workers: int, fresh: bool, backends: Sequence[str] = ()) -> None:
        self.device, self.workers, self.fresh, self.backends = device, workers, fresh, backends
        # a forked worker has torch imported already; platforms without a fork server start each worker afresh
        short = len(tempfile.gettempdir()) < 70  # the server's socket lies there, and a socket's path ends at 108
        method = "forkserver" if short and "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        self.context = multiprocessing.get_context(method)
        # what glibc reads as a worker starts: memory in large pages, a few per cent faster
        os.environ.setdefault("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
        if method == "forkserver":
            from multiprocessing.forkserver import ensure_running  # not on Windows

            # torch by its own name: from another folder, as a notebook's, Python 3.11's server does not find lib
            self.context.set_forkserver_preload(["torch._dynamo", "lib.runs.preload"])
            with ignoring_stops():  # the server inherits this: it must outlive the workers, whose end it reports
                ensure_running()
        self.tries: dict[Path, int] = {}
        self.seconds = self.sequences = 0.0  # of the runs that are done
        self.failed: list[str] = []

    def run(self, runs: Mapping[Path, RunConfig]) -> None:
        """Train each config into its folder, the longest first.

        Raises UserError if a run fails, after the others are done, or if stopped by Ctrl-C.
        """
        waiting, jobs, n_left = sorted(runs.items(), key=lambda run: length(run[1]), reverse=True), [], len(runs)
        try:
            while waiting or jobs:
                while waiting and len(jobs) < self.workers:
                    folder, config = waiting.pop(0)
                    try:
                        jobs.append(self.begin(folder, config))
                    except UserError as error:
                        self.failed.append(str(error))
                if len(jobs) + len(waiting) < n_left:
                    n_left = len(jobs) + len(waiting)
                    self.overview(len(runs) - n_left, jobs, waiting)
                wait([job.process.sentinel for job in jobs], timeout=1)
                for job in [job for job in jobs if job.process.exitcode is not None]:
                    jobs.remove(job)
                    if self.end(job):
                        waiting.insert(0, (job.folder, job.config))
                for job in jobs:
                    self.report(job, last=len(jobs) + len(waiting) == 1)
        except KeyboardInterrupt:
            with ignoring_stops():  # a second signal must not end this process before the workers have saved
                for job in jobs:
                    job.process.terminate()
                for job in jobs:
                    while job.process.is_alive():  # a worker that has only just begun did not hear the first signal
                        job.process.join(5)
                        job.process.terminate()
                    error = self.error(job) or "done"
                    self.print(f"{job.folder.name}: {STOPPED if error.startswith('killed') else error}")
                    settle(job.folder)
            told = "stopped; the same command goes on from what is saved"
            if self.fresh:
                told = "stopped; the same command without --fresh goes on from what is saved, and keeps the other runs"
            raise UserError(told) from None
        if self.failed:
            raise UserError("; ".join(self.failed))

    def begin(self, folder: Path, config: RunConfig) -> Job:
        if folder not in self.tries:
            if self.fresh and folder.exists():
                set_aside(folder)
            elif (folder / STATE).exists():
                self.print(f"{folder.name}: goes on from its saved state")
            elif (folder / METRICS).exists():
                self.print(f"{folder.name}: begins again at step 0, for {STATE} is missing")
        self.tries[folder] = self.tries.get(folder, 0) + 1
        receiver, sender = self.context.Pipe(duplex=False)
        process = self.context.Process(target=work, args=(config, folder, self.device, sender, self.backends))
        with hidden_main():
            process.start()
        sender.close()
        return Job(config, folder, process, receiver)

    def end(self, job: Job) -> bool:
        """Take note of a process that ended; True if its run must be started again."""
        name, error = job.folder.name, self.error(job)
        if error and error.startswith("killed") and self.tries[job.folder] < TRIES:
            self.print(f"{name}: {error}; the run resumes from its saved state")
            return True
        settle(job.folder)
        self.seconds += time.monotonic() - job.begun
        self.sequences += length(job.config)
        if error:
            self.failed.append(f"run {name}: {error}")
        self.print(f"{name} failed: {error}" if error else f"{self.status(job).partition(' · about')[0]} · done")
        return False

    def error(self, job: Job) -> str | None:
        """What a process that ended says of its run; None if the run is done."""
        try:
            return job.errors.recv()
        except EOFError:
            return f"killed (exit code {job.process.exitcode})"

    def overview(self, n_done: int, jobs: list[Job], waiting: list[tuple[Path, RunConfig]]) -> None:
        """How many runs are done, and how long the others take at the pace of these, per sequence."""
        counts = f"{n_done}/{n_done + len(jobs) + len(waiting)} done · {len(jobs)} running · {len(waiting)} waiting"
        if self.sequences:
            pace, now = self.seconds / self.sequences, time.monotonic()
            running = [max(0.0, pace * length(job.config) - (now - job.begun)) for job in jobs]
            total = sum(running) + pace * sum(length(config) for _, config in waiting)
            left = int(max([total / self.workers, *running]))
            counts += f" · about {left // 60}:{left % 60:02d} to go"
        self.print(f"[{counts}]")

    def status(self, job: Job) -> str:
        """ "3f2a91c07b step 1,200 · train loss … · 21 steps/s · about 1:05 left", from the last row of its metrics."""
        rows = read_metrics(job.folder)
        if not rows:
            return f"{job.folder.name} starting"
        step, seconds = rows[-1]["step"], rows[-1]["time_s"]
        text = f"{job.folder.name} {describe(rows[-1])}"
        if step and seconds:
            text += f" · {step / seconds:.0f} steps/s"
            left = int((job.config.train.max_steps - step) * seconds / step)
            text += f" · about {left // 60}:{left % 60:02d} left" if left else ""
        return text

    def report(self, job: Job, last: bool) -> None:
        """A line now and then: every second on a terminal, in place, if no other run is left; else sparsely."""
        now, alone = time.monotonic(), last and sys.stderr.isatty()
        if now - job.reported >= (1 if alone else QUIET_S):
            job.reported = now
            self.print(self.status(job), end="" if alone else "\n")

    def print(self, text: str, end: str = "\n") -> None:
        print(("\r\033[K" if sys.stderr.isatty() else "") + text, end=end, file=sys.stderr, flush=True)


@contextmanager
def hidden_main() -> Iterator[None]:
    """Workers need this module alone: without it they would import the caller's script, and run it once more."""
    main, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def length(config: RunConfig) -> int:
    """Sequences, or tokens of a corpus, that pass through a layer at most: a measure of how long a run takes."""
    return config.train.max_steps * config.train.batch_size * config.model.n_layers * max(1, config.data.window)


def work(config: RunConfig, folder: Path, device: str, errors: Connection, backends: Sequence[str] = ()) -> None:
    """The main function of a worker: trains one run, then sends None or an error message."""
    for kind in STOP_SIGNALS:  # training stops between two steps; before, Ctrl-C is the parent's affair
        signal.signal(kind, signal.SIG_IGN if kind == signal.SIGINT else signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    if parent is not None:  # never train on without a parent: another pool may resume the run
        threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()
    try:
        train(config, folder, device, backends=backends)
        errors.send(divergence(read_json(folder / SUMMARY)))
    except (UserError, KeyboardInterrupt) as error:
        errors.send(str(error) or STOPPED)
    except Exception as error:  # a defect of the library: the parent reports the error, the other runs go on
        errors.send(f"{type(error).__name__}: {error}")
        raise
