"""Muon (Jordan et al. 2024), with the matrices of one shape orthogonalised together."""

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor


class StackedMuon(torch.optim.Muon):
    """`torch.optim.Muon` with fewer and larger products: the same update in half of the time.

    torch's own takes one matrix after the other, fifteen products for each. A product of 128 × 128 numbers is so short
    that starting it takes as long. The update is that of Nesterov's momentum, scaled to the size of AdamW's
    (`match_rms_adamw`); other options are not read.
    """

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Update the weights from the gradients."""
        for group in self.param_groups:
            weights = [p for p in group["params"] if p.grad is not None]
            gradients = [p.grad for p in weights]
            for p in weights:
                self.state[p] = self.state[p] or {"momentum_buffer": torch.zeros_like(p)}
            means = [self.state[p]["momentum_buffer"] for p in weights]
            torch._foreach_lerp_(means, gradients, 1 - group["momentum"])
            updates = torch._foreach_lerp(gradients, means, group["momentum"])
            torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
            for p, update in zip(weights, turned([update[None] for update in updates], group), strict=True):
                p.add_(update[0], alpha=-group["lr"] * size_of_adamw(p))


def size_of_adamw(matrix: Tensor) -> float:
    """What an orthogonal matrix, or several (…, r, c), are multiplied by to be as large as AdamW's update."""
    return 0.2 * max(matrix.shape[-2:]) ** 0.5


def turned(updates: list[Tensor], group: dict[str, Any]) -> list[Tensor]:
    """The matrices of each update (n, r, c), orthogonalised in bfloat16: those of one shape, or turned, at once."""
    by_shape: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for i, update in enumerate(updates):
        by_shape[min(update.shape[1:]), max(update.shape[1:])].append(i)
    results = list(updates)
    for shape, places in by_shape.items():
        together = orthogonalised(torch.cat([wide(updates[i].bfloat16()) for i in places]), group)
        for i, part in zip(places, together.split([len(updates[i]) for i in places]), strict=True):
            results[i] = part if updates[i].shape[1:] == shape else part.mT.contiguous()
    return results


def wide(matrices: Tensor) -> Tensor:
    """The matrices (n, r, c), or if they have more rows than columns their transposes."""
    return matrices if matrices.shape[1] <= matrices.shape[2] else matrices.mT


def orthogonalised(x: Tensor, group: dict[str, Any]) -> Tensor:
    """Each matrix of x (n, r, c), r ≤ c, with all its singular values moved near one, by Newton–Schulz iterations."""
    a, b, c = group["ns_coefficients"]
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=group["eps"])
    for _ in range(group["ns_steps"]):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x
