"""Optimisers and learning-rate schedules."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from lib.config import OptimConfig, RunConfig
from lib.distributed import part_of, whole


class Optimizer:
    """torch's optimisers under one `step`, with the schedule and gradient clipping.

    Weight decay applies to tensors of two or more dimensions only, as in the starter: not to biases and norms. With
    `decay="all"` it applies to those too, as in the code of Power et al. 2022. Muon orthogonalises the updates of the
    blocks' matrices (Jordan et al. 2024); AdamW, with the same learning rate, trains the rest (embeddings, output
    layer, vectors).
    """

    def __init__(self, model: nn.Module, run: RunConfig, device: str = "cpu") -> None:
        self.config, self.max_steps = run.optim, run.train.max_steps
        config = run.optim
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
        self.slow: list[torch.Tensor] = []  # Grokfast's running mean of each gradient
        if hidden:
            # match_rms_adamw scales Muon's updates to the size of AdamW's, so that one learning rate suits both
            muon = torch.optim.Muon(
                hidden, config.lr, config.weight_decay, momentum=0.95, adjust_lr_fn="match_rms_adamw"
            )
            self.parts.append(muon)

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

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradient of a loss to what there is."""
        self.scaler.scale(loss).backward()

    def unscale(self) -> None:
        """The gradient of the loss itself; to be called once it is whole."""
        if self.scaler.is_enabled():
            for part in self.parts:
                self.scaler.unscale_(part)

    def grad_norm(self) -> torch.Tensor:
        """Global L2 norm of the gradient, a scalar on the device; after `unscale`."""
        return total_norm([p.grad for p in self.parameters if p.grad is not None])

    def step(self, step: int) -> None:
        """Update the weights from `step` to `step + 1`, after what the options do to the gradients."""
        if self.config.grokfast:
            self.amplify_slow_gradients()
        if self.config.orthogonal:
            orthogonalise(self.parameters)
        if self.config.clip:
            nn.utils.clip_grad_norm_(self.parameters, self.config.clip)
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = self.lr(step)
            self.scaler.step(part)  # not at all if a gradient overflowed
        self.scaler.update()

    def amplify_slow_gradients(self) -> None:
        """Grokfast-EMA (Lee et al. 2024, arXiv 2405.20233): μ <- α μ + (1 - α) g, from the first g on; g <- g + λ μ."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        if not self.slow:
            self.slow = [g.clone() for g in gradients]
        else:
            torch._foreach_lerp_(self.slow, gradients, 1 - self.config.grokfast_decay)
        torch._foreach_add_(gradients, self.slow, alpha=self.config.grokfast)

    def zero_grad(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        parts = [part.state_dict() for part in self.parts]
        return {"parts": parts, "slow": self.slow, "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for part, stored in zip(self.parts, state["parts"], strict=True):
            parameters = [p for group in part.param_groups for p in group["params"]]
            states = {
                i: {name: x if name == "step" else part_of(x, parameters[i]) for name, x in kept.items()}
                for i, kept in stored["state"].items()
            }
            part.load_state_dict(stored | {"state": states})
        self.scaler.load_state_dict(state["scaler"])
        self.slow = [mean.to(self.parameters[0].device) for mean in state["slow"]]


def total_norm(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """L2 norm of all numbers of some tensors, of which this process may have a part: a scalar on their device."""
    return whole(nn.utils.get_total_norm(tensors))


def orthogonalise(parameters: list[nn.Parameter]) -> None:
    """⊥Grad (Prieto et al. 2025, arXiv 2501.04697): g <- g - (w·g / w·w) w, at g's old norm, per tensor.

    What is removed only scales the weights, and with them the logits, which lowers the loss of a memorised set for
    ever without changing any answer.
    """
    for w in parameters:
        if w.grad is not None:
            norm = w.grad.norm()
            w.grad -= (w.detach() * w.grad).sum() / (w.detach().square().sum() + 1e-30) * w.detach()
            w.grad *= norm / (w.grad.norm() + 1e-30)


def make(config: OptimConfig, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """The torch optimiser of everything but Muon's matrices. Fused: one kernel per step, on the CPU too."""
    betas = (config.beta1, config.beta2)
    if config.name == "adam":
        return torch.optim.Adam(groups, config.lr, betas, fused=True)
    if config.name in ("adamw", "muon"):
        return torch.optim.AdamW(groups, config.lr, betas, fused=True)
    momentum = config.beta1 if config.name == "momentum" else 0.0
    return torch.optim.SGD(groups, config.lr, momentum, fused=True)
