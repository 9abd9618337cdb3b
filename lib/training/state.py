"""state.pt, from which a run resumes: weights, state of optimiser and methods, random states, and the step.

The tensors in the file are whole, whatever the number of processes. The order of the batches follows from the step.
"""

import io
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from lib.language.networks import Network
from lib.optim import Optimizer
from lib.support.errors import lacks_memory
from lib.support.files import write_atomically
from lib.training import distributed
from lib.training.folder import FAULTS, STATE, damaged

KEYS = {"step", "losses", "text", "time_s", "model", "optimizer", "methods", "rng", "cuda_rng"}
DAMAGED = ("cut off, or of another version", "delete it to begin the run again")


def save(folder: Path, model: Network, optimizer: Optimizer, **rest: Any) -> None:
    """Write the state and `rest` from rank 0. All processes must call: each may hold a shard of the weights."""
    on_gpu = torch.cuda.get_rng_state() if next(model.parameters()).is_cuda else None
    state = rest | {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    state |= {"methods": [method.memory for method in optimizer.methods]}
    state |= {"rng": torch.get_rng_state(), "cuda_rng": on_gpu}
    state = tree_map_only(Tensor, lambda x: of_its_own(distributed.gather(x)), state)
    if distributed.rank() == 0:
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_atomically(folder / STATE, buffer.getvalue())


def of_its_own(x: Tensor | None) -> Tensor | None:
    """The tensor, or a copy if it is a part of a larger one, as in a stack: torch would store all of that."""
    return x.clone() if x is not None and x.nbytes < x.untyped_storage().nbytes() else x


def read(folder: Path, mapped: bool = False) -> dict[str, Any] | None:
    """The whole state, its tensors perhaps `mapped` from the file; None if there is no file.

    Raises UserError if the file is damaged.
    """
    path = folder / STATE
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        if isinstance(state, dict) and state.keys() >= KEYS:
            return state
    except (*FAULTS, UnpicklingError) as error:
        if lacks_memory(error):
            raise
    raise damaged(path, *DAMAGED)


def restore(folder: Path, state: dict[str, Any], model: Network, optimizer: Optimizer) -> None:
    """Restore weights, optimiser, methods and random states. Raises UserError if the state does not fit the run."""
    try:
        own = model.state_dict()
        model.load_state_dict({name: distributed.shard_of(x, own[name]) for name, x in state["model"].items()})
        optimizer.load_state_dict(shards_of(state["optimizer"], optimizer))
        for method, memory in zip(optimizer.methods, state["methods"], strict=True):
            method.memory = [x.to(optimizer.parameters[0].device) for x in memory]
        torch.set_rng_state(state["rng"])
        if state["cuda_rng"] is not None and next(model.parameters()).is_cuda:
            torch.cuda.set_rng_state(state["cuda_rng"])
    except FAULTS as error:
        if lacks_memory(error):
            raise
        raise damaged(folder / STATE, *DAMAGED) from None


def shards_of(stored: dict[str, Any], optimizer: Optimizer) -> dict[str, Any]:
    """The optimiser's state with this process's shards of the moments instead of the whole moments."""
    parts = []
    for part, whole in zip(optimizer.parts, stored["parts"], strict=True):
        parameters = [p for group in part.param_groups for p in group["params"]]
        states = {
            i: {name: x if name == "step" else distributed.shard_of(x, parameters[i]) for name, x in kept.items()}
            for i, kept in whole["state"].items()
        }
        parts.append(whole | {"state": states})
    return stored | {"parts": parts}
