"""How a model is scored: loss and accuracy over whole splits, and when."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from lib import fast
from lib.config import TrainConfig
from lib.data import IGNORE, Batch, Scoring
from lib.model import Transformer
from lib.networks import Network

EVAL_TOKENS = 2**15  # per forward pass of an evaluation: bounds its memory; changes the last bits at most


def scored_logits(model: Network, batch: Batch, scoring: Scoring) -> tuple[Tensor, Tensor]:
    """Logits (N, V) and targets (N,), row by row, of all scored tokens, and perhaps of others."""
    drops = model.config.dropout and model.training
    sharing = isinstance(model, Transformer) and not drops and not batch.tokens.is_cuda  # the search would stall a GPU
    if sharing and scoring != "most":
        scored = batch.targets != IGNORE
        return fast.logits_of_scored(model, batch.tokens, scored), batch.targets[scored]
    if scoring == "last":
        return model(batch.tokens, last=True), batch.targets[:, -1]
    return model(batch.tokens, batch.lengths).flatten(0, 1), batch.targets.flatten()


def precision(config: TrainConfig, device: str) -> torch.autocast:
    """The context that runs matrix products in bfloat16, if the config says so; weights and logits stay in float32."""
    return torch.autocast(device, torch.bfloat16, enabled=config.precision == "bfloat16")


def in_parts(batch: Batch) -> list[Batch]:
    """A split in pieces of EVAL_TOKENS or less."""
    rows = max(1, EVAL_TOKENS // batch.tokens.shape[1])
    return [batch[slice(start, start + rows)] for start in range(0, batch.size, rows)]


def evaluate(model: Network, batch: Batch, scoring: Scoring) -> tuple[float, float]:
    """(loss, accuracy) over a whole split: nats per scored token; share of sequences with every scored token right."""
    training = model.training
    model.eval()
    nll, n_right, n_scored = 0.0, 0, 0
    with torch.no_grad():
        for part in in_parts(batch):
            logits, targets = scored_logits(model, part, scoring)
            nll += F.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="sum").item()
            scored = part.targets != IGNORE
            right = torch.ones_like(scored)
            right[scored] = (logits.argmax(-1) == targets)[targets != IGNORE]
            n_right += int(right.all(1).sum())
            n_scored += int(scored.sum())
    model.train(training)
    return nll / n_scored, n_right / batch.size


def answers(model: Network, batch: Batch) -> Tensor:
    """The token (N,), int16, that the model holds most likely after each sequence of a split; nothing padded."""
    training = model.training
    model.eval()
    with torch.no_grad():
        best = [scored_logits(model, part, "last")[0].argmax(-1) for part in in_parts(batch)]
    model.train(training)
    return torch.cat(best).to(torch.int16).cpu()


def spaced_steps(config: TrainConfig, growth: float) -> set[int]:
    """Some of the evaluations: the first after 0, and each at least `growth` times as late as the one before."""
    steps: list[int] = []
    for step in sorted(evaluation_steps(config))[1:]:
        if not steps or step >= growth * steps[-1]:
            steps.append(step)
    return set(steps)


def evaluation_steps(config: TrainConfig) -> set[int]:
    """The steps after which to evaluate: 0, then `eval_every` apart, then growing by `eval_growth`, and the last."""
    steps, step = {0, config.max_steps}, 0
    while step < config.max_steps:
        steps.add(step)
        step = max(step + config.eval_every, math.ceil(step * config.eval_growth))
    return steps
