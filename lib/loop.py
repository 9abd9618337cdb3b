"""The training loop: batches in, updated weights out, an evaluation now and then."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lib.config import TrainConfig
from lib.data import IGNORE, Batch, Dataset, batch_rows
from lib.objective import Objective, Row, last_step
from lib.optim import Optimizer, total_norm
from lib.support.processes import Clock


class Diverged(Exception):
    """The training loss of `step`, or an evaluation's loss after `step`, is not finite."""

    def __init__(self, step: int) -> None:
        self.step = step


class Loop:
    """The steps and evaluations of one run, whose parts are built by lib/training/trainer.py.

    `on_evaluation` sees each row of metrics, `on_step` comes after each step; either may stop the run by an exception.
    """

    def __init__(
        self,
        objective: Objective,
        data: Dataset,
        optimizer: Optimizer,
        config: TrainConfig,
        seed: int,
        on_evaluation: Callable[[Row], None] = lambda row: None,
        on_step: Callable[[], None] = lambda: None,
    ) -> None:
        self.objective, self.data, self.optimizer, self.config, self.seed = objective, data, optimizer, config, seed
        self.on_evaluation, self.on_step = on_evaluation, on_step
        self.eval_steps = config.evaluation_steps()
        self.step, self.last_step = 0, config.max_steps
        self.rows: list[Row] = []
        self.losses: list[Tensor] = []  # of the steps since the last evaluation, still on the device
        self.grad_norm: Tensor | None = None  # of the step before the next evaluation, before filters and clipping
        self.clock = Clock()  # seconds in training steps, without evaluations

    def run(self) -> None:
        """Train to the end. Raises Diverged if a loss is not finite."""
        if not self.rows:
            self.evaluate()
        self.last_step = last_step(self.config, self.data.splits, self.rows)
        self.clock.start()
        while self.step < self.last_step:
            self.take_step()
            if self.step in self.eval_steps or self.step == self.last_step:
                self.evaluate()
                self.clock.start()
            self.on_step()

    def take_step(self) -> None:
        """One optimiser step; nothing in it waits for the device, but float16's test for overflow."""
        train = self.data.splits["train"]
        parts = [train[rows] for rows in self.batch_rows().chunk(self.config.accumulation)]
        losses: list[Tensor] = []
        self.optimizer.zero_grad()
        for part, share in zip(parts, self.shares(parts), strict=True):
            losses.append(self.add_gradient(part, share, is_last=len(losses) == len(parts) - 1))
        self.optimizer.unscale()
        if self.step + 1 in self.eval_steps or self.step + 1 == self.last_step:
            self.grad_norm = self.optimizer.grad_norm()
        self.optimizer.step(self.step)
        self.losses.append(torch.stack(losses).sum())
        self.step += 1

    def batch_rows(self) -> Tensor:
        return batch_rows(self.data.splits["train"].size, self.config.batch_size, self.step, self.seed)

    def shares(self, parts: list[Batch]) -> list[Tensor | float]:
        """Each part's share of the batch's scored tokens: weighted so, the parts' mean losses sum to the batch's."""
        if len(parts) == 1:
            return [1.0]
        scored = torch.stack([(part.targets != IGNORE).sum() for part in parts]).float()
        return list(scored / scored.sum())

    def add_gradient(self, part: Batch, share: Tensor | float, is_last: bool) -> Tensor:
        """Add the gradient of a part of the batch; returns its loss. is_last: for training/distributed.py."""
        loss = self.objective(part) * share
        self.optimizer.backward(loss)
        return loss.detach()

    def evaluate(self, measured: Row | None = None) -> None:
        """Measure, unless lib/training/stack.py has, and show the row to `on_evaluation`."""
        self.check_losses()
        self.clock.stop()
        row = measured or self.measure()
        if not all(math.isfinite(row[f"{name}_loss"] or 0.0) for name in self.data.splits):
            raise Diverged(self.step)
        self.rows.append(row)
        self.losses = []
        self.last_step = last_step(self.config, self.data.splits, self.rows)
        self.on_evaluation(self.rows[-1])

    def check_losses(self) -> None:
        """Raises Diverged if the loss of a step since the last evaluation is not finite. Waits for the device."""
        finite = torch.stack(self.losses).isfinite().tolist() if self.losses else []
        if not all(finite):
            raise Diverged(self.step - len(finite) + finite.index(False) + 1)

    def measure(self) -> Row:
        """Loss and accuracy of every split, and the norms of gradient, weights and weight matrices."""
        row: Row = {"step": self.step, "lr": self.optimizer.lr(max(self.step - 1, 0))}
        for name, split in self.data.splits.items():
            row[f"{name}_loss"], row[f"{name}_acc"] = self.objective.evaluate(split)
        weights = [p.detach() for p in self.objective.network.parameters()]
        row["grad_norm"] = None if self.grad_norm is None else self.grad_norm.item()
        row["weight_norm"] = total_norm(weights).item()
        row["matrix_norm"] = total_norm([p for p in weights if p.ndim >= 2]).item()
        return row
