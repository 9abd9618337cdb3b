"""What a run goes on from: state.pt holds all that the rest of it depends on, whole, however many train it.

The order of the batches follows from the step.
"""

import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from lib import distributed
from lib.fields import UserError
from lib.networks import Network
from lib.optim import Optimizer
from lib.tracker import write_atomically


def save(folder: Path, model: Network, optimizer: Optimizer, **rest: Any) -> None:
    """Write the state, `rest` with it, from the first process. All must call: each may have a part of the weights."""
    on_gpu = torch.cuda.get_rng_state() if next(model.parameters()).is_cuda else None
    state = rest | {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    state |= {"rng": torch.get_rng_state(), "cuda_rng": on_gpu}
    state = tree_map_only(Tensor, distributed.for_the_first, state)
    if distributed.rank() == 0:
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_atomically(folder / "state.pt", buffer.getvalue())


def load(folder: Path, model: Network, optimizer: Optimizer) -> dict[str, Any] | None:
    """Put weights, optimiser and random numbers as they were, and return the whole state; None if there is none.

    Raises UserError if the file is damaged.
    """
    path = folder / "state.pt"
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        own = model.state_dict()
        model.load_state_dict({name: distributed.like(x, own[name]) for name, x in state["model"].items()})
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"])
        if state["cuda_rng"] is not None and next(model.parameters()).is_cuda:
            torch.cuda.set_rng_state(state["cuda_rng"])
    except Exception:  # whatever torch makes of a damaged file, or of one from another version
        raise UserError(f"{path}: damaged, or of another version; delete it to begin the run again") from None
    return state
