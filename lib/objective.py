"""Loss and accuracy of a network on a task, when to evaluate them, and the milestones T_fit and T_grok."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from lib.config import TrainConfig
from lib.data import IGNORE, Batch, Scoring

Row = dict[str, float | None]  # the metrics of one evaluation
SOLVED = 0.99  # the accuracy that counts as fitted or grokked
PATIENCE = 3  # evaluations in a row for T_grok: networks that grok often fall back once
EVAL_TOKENS = 2**15  # per forward pass of an evaluation: bounds its memory; changes the last bits at most

Network = Any  # a Transformer, or another module with its methods (lib/language/lstm.py)
Scored = tuple[Float[Tensor, "N V"], Int[Tensor, " N"]]  # logits and targets of N tokens, row by row
Numbers = Sequence[float] | np.ndarray  # of all evaluations, one each
ScoredLogits = Callable[[Network, Batch, Scoring], Scored]


def scored_logits(model: Network, batch: Batch, scoring: Scoring) -> Scored:
    """Logits and targets of all scored tokens, and perhaps of others, whose targets are then IGNORE."""
    if scoring == "last":
        return model(batch.tokens, last=True), batch.targets[:, -1]
    return model(batch.tokens, batch.lengths).flatten(0, 1), batch.targets.flatten()


class Objective(nn.Module):
    """What is trained on, and how it is evaluated: a module, so that several processes can share the gradient.

    `scored_logits` may be replaced by a faster function of the same result (lib/training/prefixes.py).
    """

    def __init__(
        self, network: Network, scoring: Scoring, config: TrainConfig, scored_logits: ScoredLogits = scored_logits
    ) -> None:
        super().__init__()
        self.network, self.scoring, self.config, self.scored_logits = network, scoring, config, scored_logits

    def forward(self, batch: Batch) -> Float[Tensor, ""]:
        """The loss: mean cross-entropy in nats per scored token."""
        with self.precision(batch.tokens.device):
            logits, targets = self.scored_logits(self.network, batch, self.scoring)
        return F.cross_entropy(logits, targets, ignore_index=IGNORE)

    def evaluate(self, split: Any) -> tuple[float, float]:
        """Loss (nats per scored token) and accuracy (sequences with every scored token right) over a whole split."""
        nll, n_right, n_scored = 0.0, 0, 0
        for part in split.parts(EVAL_TOKENS):
            with evaluating(self.network), self.precision(part.tokens.device):
                logits, targets = self.scored_logits(self.network, part, self.scoring)
                nll += F.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="sum").item()
            scored = part.targets != IGNORE
            right = torch.ones_like(scored)
            right[scored] = (logits.argmax(-1) == targets)[targets != IGNORE]
            n_right += int(right.all(1).sum())
            n_scored += int(scored.sum())
        return nll / n_scored, n_right / split.size

    def precision(self, device: torch.device) -> torch.autocast:
        """The context of 16-bit matrix products, if the config asks for them; weights and logits stay in float32."""
        dtype = getattr(torch, self.config.precision)
        return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


@contextmanager
def evaluating(model: Network) -> Iterator[None]:
    """Without dropout and gradients; afterwards as before."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def first_crossing(steps: Numbers, accuracy: Numbers, level: float, patience: int = 1) -> int | None:
    """Step of the first of `patience` consecutive evaluations with accuracy >= level; None if there is none."""
    streak = 0
    for i, value in enumerate(accuracy):
        streak = streak + 1 if value >= level else 0
        if streak == patience:
            return int(steps[i - patience + 1])
    return None


def steps_to_fit(steps: Numbers, train_acc: Numbers) -> int | None:
    """T_fit: the first evaluation with 99 % train accuracy."""
    return first_crossing(steps, train_acc, SOLVED)


def steps_to_grok(steps: Numbers, test_acc: Numbers) -> int | None:
    """T_grok: the first of three consecutive evaluations with 99 % test accuracy."""
    return first_crossing(steps, test_acc, SOLVED, PATIENCE)


def last_step(config: TrainConfig, splits: Iterable[str], rows: Sequence[Row]) -> int:
    """Where to stop: `max_steps`, or `go_on` times the step at which every held-out split has reached `stop_at`.

    A split has reached `stop_at` at the first of three evaluations in a row. All held-out splits count, so that no run
    ends just before T_grok; the test split decides nothing else. Without held-out splits the train split counts.
    """
    if config.stop_at:
        steps = [int(row["step"] or 0) for row in rows]
        held_out = [f"{split}_acc" for split in splits if split != "train"] or ["train_acc"]
        curves = ([row[key] or 0.0 for row in rows] for key in held_out)
        solved = [first_crossing(steps, curve, config.stop_at, PATIENCE) for curve in curves]
        reached = [step for step in solved if step is not None]
        if len(reached) == len(solved):
            return min(max(round(config.go_on * max(reached)), steps[-1]), config.max_steps)
    return config.max_steps
