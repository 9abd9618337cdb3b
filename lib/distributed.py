"""One run trained by several processes, each on its share of every batch: `torchrun --nproc_per_node N -m lib.train …`.

Every process holds the whole network, makes the same steps and comes to the same evaluations; the first one writes.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from lib.machine import sole_use

NEEDED = ("config.json", "metrics.csv", "state.pt")  # what a process must have of a run to go on with it


def launched() -> bool:
    """Whether torchrun began this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", 1)) > 1


def rank() -> int:
    return dist.get_rank() if together() else 0


def size() -> int:
    return dist.get_world_size() if together() else 1


def together() -> bool:
    """Whether this process is connected with others."""
    return dist.is_available() and dist.is_initialized()


def total(x: Tensor) -> Tensor:
    """The sum of `x` over the processes."""
    if together():
        x = x.clone()
        dist.all_reduce(x)
    return x


@contextmanager
def group(device: str) -> Iterator[None]:
    """The processes that torchrun began, connected: by NCCL, each with a GPU of its own, or by gloo on CPUs."""
    if not launched():
        yield
        return
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


@contextmanager
def place(folder: Path) -> Iterator[Path]:
    """Where this process writes: the first one into `folder`, which is locked; others into a copy that is dropped.

    Raises UserError if the folder cannot be used.
    """
    with tempfile.TemporaryDirectory() as copy:
        if rank() == 0:
            with sole_use(folder):
                wait()  # until the others have their copy
                yield folder
            return
        for name in NEEDED:
            if (folder / name).exists():
                shutil.copy(folder / name, copy)
        wait()
        yield Path(copy)


def wait() -> None:
    """For the others to come here."""
    if together():
        dist.barrier()
