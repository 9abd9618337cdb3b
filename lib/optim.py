"""Optimisers and learning-rate schedules."""

import math
from typing import Any

import torch
from torch import nn

from lib.config import OptimConfig


class Optimizer:
    """torch's optimisers under one `step`, with the schedule and gradient clipping.

    Weight decay applies to tensors of two or more dimensions only, as in the starter: not to biases and norms.
    Muon orthogonalises the updates of the blocks' matrices (Jordan et al. 2024); AdamW, with the same learning rate,
    trains the rest (embeddings, output layer, vectors).
    """

    def __init__(self, model: nn.Module, config: OptimConfig, max_steps: int) -> None:
        self.config, self.max_steps = config, max_steps
        self.parameters = list(model.parameters())
        named = list(model.named_parameters())
        hidden = [p for name, p in named if config.name == "muon" and p.ndim == 2 and name.startswith("blocks.")]
        rest = [p for _, p in named if not any(p is h for h in hidden)]
        groups = [
            {"params": [p for p in rest if p.ndim >= 2], "weight_decay": config.weight_decay},
            {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
        ]
        self.parts = [make(config, [g for g in groups if g["params"]])]
        if hidden:
            # match_rms_adamw scales Muon's updates to the size of AdamW's, so that one learning rate suits both
            muon = torch.optim.Muon(
                hidden, config.lr, config.weight_decay, momentum=0.95, adjust_lr_fn="match_rms_adamw"
            )
            self.parts.append(muon)

    def lr(self, step: int) -> float:
        """The learning rate of the update from `step` to `step + 1`."""
        warmup = self.config.warmup_steps
        if step < warmup:
            return self.config.lr * (step + 1) / warmup
        if self.config.schedule == "cosine":
            progress = (step - warmup) / max(1, self.max_steps - warmup)
            return self.config.lr * 0.5 * (1 + math.cos(math.pi * progress))
        return self.config.lr

    def grad_norm(self) -> torch.Tensor:
        """Global L2 norm of the gradient, a scalar on the device."""
        return nn.utils.get_total_norm([p.grad for p in self.parameters if p.grad is not None])

    def step(self, step: int) -> None:
        """Update the weights from `step` to `step + 1`."""
        if self.config.clip:
            nn.utils.clip_grad_norm_(self.parameters, self.config.clip)
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = self.lr(step)
            part.step()

    def zero_grad(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    def state_dict(self) -> list[dict[str, Any]]:
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, state: list[dict[str, Any]]) -> None:
        for part, stored in zip(self.parts, state, strict=True):
            part.load_state_dict(stored)


def make(config: OptimConfig, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """The torch optimiser of everything but Muon's matrices. Fused: one kernel per step, on the CPU too."""
    betas = (config.beta1, config.beta2)
    if config.name == "adam":
        return torch.optim.Adam(groups, config.lr, betas, fused=True)
    if config.name in ("adamw", "muon"):
        return torch.optim.AdamW(groups, config.lr, betas, fused=True)
    momentum = config.beta1 if config.name == "momentum" else 0.0
    return torch.optim.SGD(groups, config.lr, momentum, fused=True)
