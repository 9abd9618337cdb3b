"""What all methods have in common: two hooks around a step, a memory, and what they may look at."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from lib.objective import Row
from lib.optim import Optimizer


@dataclass(frozen=True)
class Trained:
    """A network in training. Its weights below are those that are trained."""

    network: Any
    optimizer: Optimizer
    rows: Callable[[], Sequence[Row]]  # the metrics of all evaluations so far

    @property
    def weights(self) -> list[nn.Parameter]:
        return self.optimizer.parameters

    @cached_property
    def matrices(self) -> list[nn.Parameter]:
        return [w for w in self.weights if w.ndim >= 2]

    def named(self, *places: str) -> list[nn.Parameter]:
        """The weights whose names begin with one of `places`."""
        return [w for name, w in self.network.named_parameters() if name.startswith(places) and w.requires_grad]

    @cached_property
    def hidden(self) -> list[nn.Parameter]:
        """The blocks' matrices, which Muon trains."""
        return [w for w in self.named("blocks.") if w.ndim >= 2]

    @cached_property
    def inner(self) -> list[nn.Parameter]:
        """All but token embedding and output layer."""
        return self.named("position.", "blocks.", "final_norm.")

    @cached_property
    def embeddings(self) -> list[nn.Parameter]:
        """Token and position embeddings, and the output layer."""
        return self.named("embed.", "position.", "unembed.")


class Method:
    """One method in one run. `amount`: its number in `optim.methods`; `memory`: its part of the run's saved state.

    The optimiser calls `before` when the gradients are there, and `after` when the weights are new. `lr`: the step's
    learning rate. In float16 a step that changes nothing calls neither.
    """

    def __init__(self, amount: float, trained: Trained) -> None:
        self.amount, self.trained = amount, trained
        self.memory: list[Tensor] = []

    def before(self, lr: float) -> None: ...

    def after(self, lr: float) -> None: ...
