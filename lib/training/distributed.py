"""One run trained by several processes, each on its share of every batch: `torchrun --nproc_per_node N -m lib.train …`.

All processes take the same steps and come to the same evaluations; rank 0 writes. Each process holds the whole network
(DDP, Li et al. 2020, arXiv 2006.15704). With `--shard` a process holds its shard of every weight, gradient and moment,
and a block's whole weights only while the block computes (FSDP, Zhao et al. 2023, arXiv 2304.11277). So a network can
be trained that does not fit into one device.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
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
from lib.support.streams import stream
from lib.training.folder import CONFIG, METRICS, STATE


def rank() -> int:
    return dist.get_rank() if connected() else 0


def size() -> int:
    """The number of processes."""
    return dist.get_world_size() if connected() else 1


def connected() -> bool:
    return dist.is_available() and dist.is_initialized()


def all_reduce(x: Tensor) -> Tensor:
    """The sum of `x` over the processes."""
    if connected():
        x = x.clone()
        dist.all_reduce(x)
    return x


def broadcast(x: Tensor) -> Tensor:
    """`x` of rank 0, so that all processes decide alike."""
    if connected():
        x = x.clone()
        dist.broadcast(x, 0)
    return x


def barrier() -> None:
    """Wait until all processes have come here."""
    if connected():
        dist.barrier()


@contextmanager
def group(device: str) -> Iterator[None]:
    """Connects the processes that torchrun began: by NCCL, each with a GPU of its own, or by gloo on CPUs."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
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
    """`objective` on the device; its backward pass averages the gradients over the processes.

    With `shard`, `with_network` gathers the weights as the forward pass does. The blocks' matrices are gathered in the
    precision of their products, since autocast's own copies would outlive the gathered matrices.
    """
    if not connected():
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
            fully_shard(norm, mesh=mesh)  # in float32, as autocast leaves norms
        fully_shard(block, mesh=mesh, mp_policy=policy)
    # the rest, too, is sharded again whenever the optimiser or a file reads the parameters
    fully_shard(objective, mesh=mesh, reshard_after_forward=True)
    register_fsdp_forward_method(objective, "with_network")
    return objective


class SharedLoop(Loop):
    """The loop of each of several processes: every batch is shared out, and all agree on what is measured."""

    def __init__(self, shared: nn.Module, *args: Any) -> None:
        """shared: the objective as `parallelise` made it; args: those of Loop."""
        super().__init__(*args)
        self.shared, self.replicated = shared, isinstance(shared, DistributedDataParallel)

    @property
    def described(self) -> str:
        return f"{size()} processes, each with {'all' if self.replicated else 'a shard'} of the weights"

    def batch_rows(self) -> Tensor:
        return super().batch_rows()[rank() :: size()]

    def shares(self, parts: list[Batch]) -> list[Tensor | float]:
        """Each part's share of the whole batch, times the number of processes, over which gradients are averaged."""
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


def same_logits(network: nn.Module) -> AbstractContextManager[Any]:
    """All processes see the logits of rank 0 meanwhile, so that all draw the same sample."""
    return network.register_forward_hook(lambda module, args, logits: broadcast(logits))


def seed_dropout(seed: int, step: int) -> None:
    """Gives each rank above 0 a dropout stream of its own from a saved step on, the same if resumed at that step."""
    if rank():
        torch.manual_seed(stream(seed, f"dropout of rank {rank()} from step", step))


def check_shard(config: RunConfig) -> None:
    """Raises UserError if the weights of a run cannot be sharded over the processes that there are.

    Fused SGD is not made for shards of a matrix, and neither is the fast path of equations.
    """
    if size() == 1:
        raise UserError("--shard: needs several processes: torchrun --nproc_per_node N -m lib.train … --shard")
    values = config.flat()
    for name, allowed in (
        ("data.task", ("corpus",)),
        ("model.kind", ("transformer",)),
        ("optim.name", ("adam", "adamw", "muon")),
        ("optim.grokfast", (0.0,)),
        ("optim.orthogonal", (False,)),
        ("optim.methods", ("",)),
        ("train.precision", ("float32", "bfloat16")),
    ):
        if values[name] not in allowed:
            raise UserError(f"{name} = {values[name]!r}: must be {' or '.join(map(repr, allowed))} with --shard")


def gather(x: Tensor) -> Tensor | None:
    """A whole tensor on the CPU of rank 0, gathered if each process holds a shard of it. All processes must call."""
    whole = x.full_tensor() if hasattr(x, "full_tensor") else x
    return whole.cpu() if rank() == 0 else None


def shard_of(x: Tensor, parameter: Tensor) -> Tensor:
    """This process's shard of a whole tensor of the parameter's shape; the whole tensor if nothing is sharded."""
    if not hasattr(parameter, "full_tensor"):
        return x
    from torch.distributed.tensor import distribute_tensor

    here = x.to(parameter.device)
    return distribute_tensor(here, parameter.device_mesh, parameter.placements, src_data_rank=None)


@contextmanager
def place(folder: Path) -> Iterator[Path]:
    """Where this process writes: rank 0 into `folder`, which is locked; others into a copy that is dropped.

    Raises UserError if the folder cannot be used.
    """
    with tempfile.TemporaryDirectory() as copy:
        if rank() == 0:
            with sole_use(folder):
                barrier()  # until the others have their copy
                yield folder
            return
        for name in (CONFIG, METRICS):
            if (folder / name).exists():
                shutil.copy(folder / name, copy)
        if (folder / STATE).exists():  # large; rank 0 replaces it after all have made a step
            Path(copy, STATE).symlink_to((folder / STATE).resolve())
        barrier()
        yield Path(copy)
