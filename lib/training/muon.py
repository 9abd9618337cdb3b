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
            by_shape: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
            for i, p in enumerate(weights):
                by_shape[min(p.shape), max(p.shape)].append(i)
            for (rows, columns), places in by_shape.items():
                flat = [wide(updates[i].bfloat16()) for i in places]
                turned = orthogonalised(torch.stack(flat), group)
                for i, update in zip(places, turned, strict=True):
                    update = update if weights[i].shape == (rows, columns) else update.mT.contiguous()
                    weights[i].add_(update, alpha=-group["lr"] * (0.2 * columns**0.5))


def wide(matrix: Tensor) -> Tensor:
    """The matrix, or if it has more rows than columns its transpose."""
    return matrix if matrix.shape[0] <= matrix.shape[1] else matrix.mT


def orthogonalised(x: Tensor, group: dict[str, Any]) -> Tensor:
    """Each matrix of x (n, r, c), r ≤ c, with all its singular values moved near one, by Newton–Schulz iterations."""
    a, b, c = group["ns_coefficients"]
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=group["eps"])
    for _ in range(group["ns_steps"]):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x
