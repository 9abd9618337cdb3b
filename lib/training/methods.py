"""Methods said to make grokking faster by changing the gradient: Grokfast and the orthogonal gradient."""

import torch
from torch import Tensor, nn

from lib.config import OptimConfig
from lib.optim import Filter


class Grokfast:
    """Grokfast-EMA (Lee et al. 2024, arXiv 2405.20233): μ <- α μ + (1 - α) g, from the first g on; g <- g + λ μ."""

    def __init__(self, config: OptimConfig) -> None:
        self.amount, self.decay = config.grokfast, config.grokfast_decay
        self.mean: list[Tensor] = []  # μ of each gradient

    def __call__(self, parameters: list[nn.Parameter]) -> None:
        gradients = [p.grad for p in parameters if p.grad is not None]
        if not self.mean:
            self.mean = [g.clone() for g in gradients]
        else:
            torch._foreach_lerp_(self.mean, gradients, 1 - self.decay)
        torch._foreach_add_(gradients, self.mean, alpha=self.amount)


def orthogonalise(parameters: list[nn.Parameter]) -> None:
    """⊥Grad (Prieto et al. 2025, arXiv 2501.04697): g <- g - (w·g / w·w) w, at g's old norm, per tensor.

    The removed component scales weights and logits: the loss of a memorised set falls for ever, and no answer changes.
    """
    for w in parameters:
        if w.grad is not None:
            norm = w.grad.norm()
            w.grad -= (w.detach() * w.grad).sum() / (w.detach().square().sum() + 1e-30) * w.detach()
            w.grad *= norm / (w.grad.norm() + 1e-30)


def make_filters(config: OptimConfig) -> list[Filter]:
    """The methods that a config asks for, in the order in which a step applies them."""
    filters: list[Filter] = [Grokfast(config)] if config.grokfast else []
    return [*filters, orthogonalise] if config.orthogonal else filters
