"""Signals of a process, its training clock, and how many processes to start."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NoReturn


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


def is_alive(pid: int) -> bool:
    """Whether this machine has a process of that number. On Windows, where to ask would end it, always true."""
    try:
        if os.name != "nt":
            os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's
    return True


def default_workers(device: str) -> int:
    """Runs to train side by side: one per processor that this process may use; on a GPU one."""
    if device == "cuda":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# what Ctrl-C, a batch system, and a closed terminal send; under nohup a closed terminal is to stop nothing
STOP_SIGNALS: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGTERM)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
    STOP_SIGNALS += (signal.SIGHUP,)


@contextmanager
def handling(handler: Any) -> Iterator[None]:
    """Handles every stop signal so meanwhile. A no-op off the main thread, which alone may set handlers."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = [signal.signal(kind, handler) for kind in STOP_SIGNALS]
    try:
        yield
    finally:
        for kind, old in zip(STOP_SIGNALS, before, strict=True):
            signal.signal(kind, old)


@contextmanager
def stop_signal() -> Iterator[Callable[[], bool]]:
    """Turns every stop signal into a question that the loop asks between two steps."""
    stopped = threading.Event()
    with handling(lambda *_: stopped.set()):
        yield stopped.is_set


def ignoring_stops() -> AbstractContextManager[None]:
    """Ignores every stop signal meanwhile; a process begun here ignores them for good."""
    return handling(signal.SIG_IGN)


def interrupt(*_: object) -> NoReturn:
    """A handler that turns the first stop signal into KeyboardInterrupt, and ignores further ones."""
    for kind in STOP_SIGNALS:
        signal.signal(kind, signal.SIG_IGN)
    raise KeyboardInterrupt
