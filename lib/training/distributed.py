"""One run trained by several processes, each on its share of every batch: `torchrun --nproc_per_node N -m lib.train …`.

Every process makes the same steps and comes to the same evaluations; the first one writes. Each holds the whole network
(DDP, Li et al. 2020, arXiv 2006.15704) or, with `--shard`, its part of every weight, gradient and moment, and a block's
weights as a whole only while it computes (FSDP, Zhao et al. 2023, arXiv 2304.11277): for a network that does not fit.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lib.config import RunConfig
from lib.data import IGNORE, Batch
from lib.loop import Loop
from lib.objective import Objective, Row
from lib.support.errors import UserError
from lib.support.files import sole_use
from lib.training.folder import CONFIG, METRICS, STATE

NEEDED = (CONFIG, METRICS)  # what a process must have of a run to go on with it, beside its state


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


def all_reduce(x: Tensor) -> Tensor:
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


def parallelise(objective: Objective, device: str, shard: bool) -> nn.Module:
    """`objective` on the device, in such a way that its backward averages the gradients of the processes.

    With `shard`, `with_network` gathers the weights as the forward pass does. Blocks' matrices are gathered in the
    precision of their products: a copy that autocast made would outlive the gathered ones.
    """
    if not together():
        return objective.to(device)
    if not shard:
        return DistributedDataParallel(objective.to(device))
    # takes a second to import
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

    mesh = dist.init_device_mesh(device, (size(),))
    dtype = getattr(torch, objective.config.precision)
    policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for block in objective.network.blocks:
        for norm in (block.attention_norm, block.feed_forward_norm):
            fully_shard(norm, mesh=mesh)  # in float32, as autocast leaves it
        fully_shard(block, mesh=mesh, mp_policy=policy)  # keeps this process's part
    # the rest, too, is in parts again whenever the optimiser or a file wants the parameters
    fully_shard(objective, mesh=mesh, reshard_after_forward=True)
    register_fsdp_forward_method(objective, "with_network")
    return objective


class SharedLoop(Loop):
    """The loop of each of several processes: every batch is shared out, and all agree on what is measured."""

    def __init__(self, shared: nn.Module, *args: Any) -> None:
        """shared: the objective as `parallelise` made it; args: those of Loop."""
        super().__init__(*args)
        self.shared = shared
        self.replicated = isinstance(shared, DistributedDataParallel)

    @property
    def described(self) -> str:
        return f"{size()} processes, each with {'all' if self.replicated else 'a shard'} of the weights"

    def batch_rows(self) -> Tensor:
        return super().batch_rows()[rank() :: size()]

    def shares(self, parts: list[Batch]) -> list[Tensor | float]:
        """The same, times the processes: gradients are averaged over these."""
        scored = torch.stack([(part.targets != IGNORE).sum() for part in parts]).float()
        return list(scored / all_reduce(scored.sum()) * size())

    def add_gradient(self, part: Batch, share: Tensor | float, is_last: bool) -> Tensor:
        """DDP reduces the gradients once, with the last part. FSDP reduces each part's: whole ones would not fit."""
        with self.shared.no_sync() if self.replicated and not is_last else nullcontext():
            loss = self.shared(part) * share
            self.optimizer.backward(loss)
        return loss.detach()

    def check_losses(self) -> None:
        if self.losses:
            self.losses = list(all_reduce(torch.stack(self.losses)))
        super().check_losses()

    def measure(self) -> Row:
        row = super().measure()
        names = [name for name, value in row.items() if value is not None and name != "step"]
        values = torch.tensor([row[name] for name in names], dtype=torch.float64)
        device = next(self.objective.parameters()).device
        return row | dict(zip(names, broadcast(values.to(device)).tolist(), strict=True))


@contextmanager
def same_logits(network: nn.Module) -> Iterator[None]:
    """All processes see the first one's logits, so that all draw the same sample."""
    hook = network.register_forward_hook(lambda module, args, logits: broadcast(logits))
    try:
        yield
    finally:
        hook.remove()


def seed_dropout(seed: int, step: int) -> None:
    """Other dropout in each further process than in the first, from a saved step on; the same if resumed there."""
    if rank():
        torch.manual_seed((seed * 1_000_003 + step) * 1_009 + rank())


def check_shard(config: RunConfig) -> None:
    """Raises UserError if the weights of a run cannot be spread over the processes that there are.

    Fused SGD and Muon's products are not made for parts of a matrix; equations take the fast path, which is not either.
    """
    if size() == 1:
        raise UserError("--shard: needs several processes: torchrun --nproc_per_node N -m lib.train … --shard")
    for name, value, allowed in (
        ("data.task", config.data.task, ("corpus",)),
        ("model.kind", config.model.kind, ("transformer",)),
        ("optim.name", config.optim.name, ("adam", "adamw")),
        ("optim.grokfast", config.optim.grokfast, (0.0,)),
        ("optim.orthogonal", config.optim.orthogonal, (False,)),
        ("train.precision", config.train.precision, ("float32", "bfloat16")),
    ):
        if value not in allowed:
            raise UserError(f"{name} = {value!r}: must be {' or '.join(map(repr, allowed))} with --shard")


def whole(x: Tensor) -> Tensor:
    """A tensor of which each process has a part, in one piece; any other as it is. All processes must ask."""
    return x.full_tensor() if hasattr(x, "full_tensor") else x


def for_the_first(x: Tensor) -> Tensor | None:
    """The same on the CPU, for the first process only."""
    x = whole(x)
    return x.cpu() if rank() == 0 else None


def shard_of(x: Tensor, parameter: Tensor) -> Tensor:
    """This process's shard of a whole tensor of the parameter's shape, if the parameter is sharded; else as it is."""
    if not hasattr(parameter, "full_tensor"):
        return x
    from torch.distributed.tensor import distribute_tensor

    here = x.to(parameter.device)
    return distribute_tensor(here, parameter.device_mesh, parameter.placements, src_data_rank=None)


def broadcast(x: Tensor) -> Tensor:
    """`x` as the first process has it, so that all decide alike."""
    if together():
        x = x.clone()
        dist.broadcast(x, 0)
    return x


@contextmanager
def place(folder: Path) -> Iterator[Path]:
    """Where this process writes: the first one into `folder`, which is locked; others into a copy that is dropped.

    Raises UserError if the folder cannot be used.
    """
    with tempfile.TemporaryDirectory() as copy:
        if rank() == 0:
            with sole_use(folder):
                barrier()  # until the others have their copy
                yield folder
            return
        for name in NEEDED:
            if (folder / name).exists():
                shutil.copy(folder / name, copy)
        if (folder / STATE).exists():  # large; the first process replaces it after all have made a step
            Path(copy, STATE).symlink_to((folder / STATE).resolve())
        barrier()
        yield Path(copy)


def barrier() -> None:
    """Wait for the other processes to come here."""
    if together():
        dist.barrier()
