"""Optimisers and the learning-rate schedule."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Muon

from lib.config import OptimConfig, RunConfig

Filter = Callable[[list[nn.Parameter]], None]  # changes the gradients of some parameters in place


class Optimizer:
    """torch's optimisers under one `step`, with the schedule and gradient clipping.

    Weight decay applies to tensors of two or more dimensions, not to biases and norms, as in the starter. With
    `decay="all"` weight decay applies to all tensors, as in the code of Power et al. 2022. Muon (Jordan et al. 2024)
    orthogonalises the updates of the blocks' matrices; AdamW trains embeddings, output layer and vectors beside it, at
    the same learning rate. `filters` change the whole gradient before each step. `muon` may be a faster class.
    """

    def __init__(
        self, model: nn.Module, run: RunConfig, device: str = "cpu", filters: Sequence[Filter] = (), muon: Any = Muon
    ) -> None:
        config = self.config = run.optim
        self.max_steps, self.filters = run.train.max_steps, filters
        # float16 ends at 6e-8: gradients smaller than that survive if the loss is scaled up first
        self.scaler = torch.amp.GradScaler(device, enabled=run.train.precision == "float16")
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        self.parameters = [p for _, p in named]
        hidden = [p for name, p in named if config.name == "muon" and p.ndim == 2 and name.startswith("blocks.")]
        rest = [p for _, p in named if not any(p is h for h in hidden)]
        groups = [
            {"params": [p for p in rest if p.ndim >= 2], "weight_decay": config.weight_decay},
            {"params": [p for p in rest if p.ndim < 2], "weight_decay": config.weight_decay * (config.decay == "all")},
        ]
        self.parts = [make(config, [g for g in groups if g["params"]])]
        if hidden:
            # match_rms_adamw scales Muon's updates to the size of AdamW's, so that one learning rate suits both
            self.parts.append(muon(hidden, config.lr, config.weight_decay, adjust_lr_fn="match_rms_adamw"))

    def lr(self, step: int) -> float:
        """The learning rate of the update from `step` to `step + 1`."""
        warmup, final = self.config.warmup_steps, self.config.final_lr
        if step < warmup:
            return self.config.lr * (step + 1) / warmup
        if self.config.schedule == "cosine":
            fall = max(1, (self.config.fall_steps or self.max_steps) - warmup)
            progress = min(1.0, (step - warmup) / fall)
            return self.config.lr * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress)))
        return self.config.lr

    def zero_grad(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    def backward(self, loss: Float[Tensor, ""]) -> None:
        """Add the gradient of a loss to the stored gradients."""
        self.scaler.scale(loss).backward()

    def unscale(self) -> None:
        """Divide the gradient by the scale of float16's loss; called once per step, after the last `backward`."""
        for part in self.parts:
            self.scaler.unscale_(part)

    def grad_norm(self) -> Float[Tensor, ""]:
        """Global L2 norm of the gradient; after `unscale`."""
        return total_norm([p.grad for p in self.parameters if p.grad is not None])

    def step(self, step: int) -> None:
        """Filter and clip the gradients, then update the weights from `step` to `step + 1`.

        In float16 a step in which any gradient has overflowed changes nothing but the loss's scale.
        """
        if not self.scaler.is_enabled() or self.grad_norm().isfinite():
            for change in self.filters:
                change(self.parameters)
            if self.config.clip:
                nn.utils.clip_grad_norm_(self.parameters, self.config.clip)
            for part in self.parts:
                for group in part.param_groups:
                    group["lr"] = self.lr(step)
                self.scaler.step(part)
        self.scaler.update()

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self.parts], "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for part, stored in zip(self.parts, state["parts"], strict=True):
            part.load_state_dict(stored)
        self.scaler.load_state_dict(state["scaler"])


def total_norm(tensors: Sequence[Tensor]) -> Float[Tensor, ""]:
    """L2 norm of all numbers of some tensors together."""
    norm = nn.utils.get_total_norm(tensors)
    return norm.full_tensor() if hasattr(norm, "full_tensor") else norm  # of tensors that several processes share


def make(config: OptimConfig, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """The torch optimiser of everything but Muon's matrices. Fused: one kernel per step, on the CPU too."""
    betas = (config.beta1, config.beta2)
    if config.name == "adam":
        return torch.optim.Adam(groups, config.lr, betas, fused=True)
    if config.name in ("adamw", "muon"):
        return torch.optim.AdamW(groups, config.lr, betas, fused=True)
    momentum = {"sgd": 0.0, "momentum": config.beta1}
    return torch.optim.SGD(groups, config.lr, momentum[config.name], fused=True)
