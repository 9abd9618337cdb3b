"""Signals of a process, its training clock, and how many processes to start."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Clock:
    """Counts seconds while it runs; can be stopped for an evaluation, and go on from a stored count."""

    def __init__(self) -> None:
        self.counted, self._started = 0.0, None  # type: float, float | None

    @property
    def seconds(self) -> float:
        return self.counted + (0.0 if self._started is None else time.perf_counter() - self._started)

    def start(self) -> None:
        self._started = time.perf_counter()

    def stop(self) -> None:
        self.counted, self._started = self.seconds, None


def default_workers(device: str) -> int:
    """Runs to train side by side: one per processor that this process may use; on a GPU one."""
    if device == "cuda":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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


@contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """Ignores Ctrl-C meanwhile, as do processes begun here, for good. A no-op off the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
