"""The machine under a run: its device, its memory, and what a result may depend on beside the config."""

import ctypes
import os
import platform
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lib.fields import UserError


def git(*args: str) -> str:
    """What git prints; nothing where there is no git, or no repository."""
    try:
        call = subprocess.run(["git", *args], cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return call.stdout.strip()


ROOT = Path(__file__).resolve().parent.parent
# asked when the library is imported, for by the time a run begins the files may have changed
COMMIT = git("rev-parse", "HEAD") or None
CHANGED = bool(git("status", "--porcelain", "--", ".")) if COMMIT else None


def environment(device: str) -> dict[str, Any]:
    """What env.json tells: versions, processor, threads, device, and the git commit of the library."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(terse=True),
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "commit": COMMIT,
        "uncommitted_changes": CHANGED,
    }


def processor() -> str:
    """The processor's name and its widest vector instructions, which decide the last bits of a result."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(text.split(":")[1].strip() for text in lines if text.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"


def check_device(device: str) -> None:
    """Raises UserError if there is no such device here."""
    if device not in ("cpu", "cuda"):
        raise UserError(f"device = {device!r}: must be cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("device = 'cuda': there is no CUDA device here; must be cpu")


def default_workers(device: str) -> int:
    """Runs to train side by side: one per processor that this process may use; on a GPU one."""
    if device == "cuda":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Tell glibc to keep freed memory for the next allocation; other C libraries are left as they are.

    By default it gives blocks of the size of our activations back to the system, and a step spends a tenth of its
    time asking for the same pages again, zeroed.
    """
    m_trim_threshold, m_mmap_threshold = -1, -3  # malloc.h
    if platform.libc_ver()[0] == "glibc":
        for parameter in (m_trim_threshold, m_mmap_threshold):
            ctypes.CDLL(None).mallopt(parameter, 1 << 30)


def peak_memory_mb(device: str) -> float:
    """Largest memory so far, MB: allocated on the GPU, or the process's resident set."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    if os.name == "nt":
        return float("nan")
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def start_memory_mb(device: str) -> float:
    """The same before a run, from which its own need is counted; on a GPU the count begins anew."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    return peak_memory_mb(device)


@contextmanager
def sole_use(folder: Path, wait: bool = False) -> Iterator[None]:
    """Makes the folder and holds a lock on it, which the system drops if the process dies. No lock on Windows.

    Raises UserError if it cannot be made, or, unless it is to `wait`, if another process holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from None
    if os.name == "nt":
        yield
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(handle)
        raise UserError(f"{folder}: another process is training this run; wait for it, or stop it") from None
    try:
        yield
    finally:
        os.close(handle)


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
