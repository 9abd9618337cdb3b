"""Lion and SignSGD, which torch does not have."""

from typing import Any

import torch

from lib import optim
from lib.config import OptimConfig


class Lion(torch.optim.Optimizer):
    """Lion (Chen et al. 2023, arXiv 2302.06675), with decoupled weight decay λ.

    w <- (1 - η λ) w - η sign(β₁ m + (1 - β₁) g), and then m <- β₂ m + (1 - β₂) g. Without β's this is SignSGD
    (Bernstein et al. 2018, arXiv 1802.04434).
    """

    def __init__(self, groups: list[dict[str, Any]], lr: float, betas: tuple[float, float]) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            weights = [w for w in group["params"] if w.grad is not None]
            gradients = [w.grad for w in weights]
            for w in weights:
                self.state[w] = self.state[w] or {"mean": torch.zeros_like(w)}
            means, (beta1, beta2) = [self.state[w]["mean"] for w in weights], group["betas"]
            signs = torch._foreach_sign(torch._foreach_lerp(means, gradients, 1 - beta1))
            torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(weights, signs, alpha=-group["lr"])
            torch._foreach_lerp_(means, gradients, 1 - beta2)


def make(config: OptimConfig, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """The optimiser of a config: Lion, SignSGD, or what `lib.optim.make` makes."""
    if config.name in ("lion", "signsgd"):
        return Lion(groups, config.lr, (config.beta1, config.beta2) if config.name == "lion" else (0.0, 0.0))
    return optim.make(config, groups)
