"""The machine under a run: its device, its memory, and what a result may depend on beside the config."""

import ctypes
import os
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lib.support.errors import UserError


def git(*args: str) -> str:
    """What git prints; nothing where there is no git, or no repository."""
    try:
        call = subprocess.run(["git", *args], cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return call.stdout.strip()


@cache
def code_version() -> dict[str, Any]:
    """The git commit of the library, and whether files differ from it, when this process asked first."""
    commit = git("rev-parse", "HEAD") or None
    return {"commit": commit, "uncommitted_changes": bool(git("status", "--porcelain", "--", "..")) if commit else None}


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
    } | code_version()


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
