"""How a model is scored: loss and accuracy over whole splits, and when."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lib import fast
from lib.config import ModelConfig, TrainConfig
from lib.data import IGNORE, Batch, Scoring, Windows
from lib.model import Transformer, to_logits
from lib.networks import Network

EVAL_TOKENS = 2**15  # per forward pass of an evaluation: bounds its memory; changes the last bits at most
EVAL_LOGITS = 2**24  # numbers at a time, where a vocabulary is large


class Objective(nn.Module):
    """The loss that is trained on, as a module of its own, so that several processes can share it."""

    def __init__(self, network: Network, scoring: Scoring, config: TrainConfig) -> None:
        super().__init__()
        self.network, self.scoring, self.config = network, scoring, config

    def forward(self, batch: Batch) -> Tensor:
        """Mean nats per scored token, a scalar."""
        with precision(self.config, batch.tokens.device.type):
            if self.scoring == "all" and not self.config.whole_logits:
                return chunked_loss(self.network, batch)
            logits, targets = scored_logits(self.network, batch, self.scoring)
        return F.cross_entropy(logits, targets, ignore_index=IGNORE)

    def reading(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """`function` of the network, which finds its weights whole wherever they are kept (distributed.spread)."""
        return function(self.network, *args, **options)


def chunked_loss(network: Network, batch: Batch) -> Tensor:
    """The same without ever holding the logits (tokens, V) of more than a chunk; nothing is padded.

    In float32 whatever the rest is computed in, as whole logits are. Recent versions of torch do it in one function,
    which computes each chunk's gradient along with its loss; without it each chunk is computed twice.
    """
    features = network.features(network.states(batch.tokens)).flatten(0, 1)  # (B T, D)
    weight, targets = network.output_weight, batch.targets.flatten()
    with torch.autocast(features.device.type, enabled=False):
        if network.config.output == "softmax" and hasattr(nn, "LinearCrossEntropyOptions"):
            return F.linear_cross_entropy(features, weight, targets, options=nn.LinearCrossEntropyOptions())
        return checkpointed_loss(features, weight, targets, network.config)


def checkpointed_loss(features: Tensor, weight: Tensor, targets: Tensor, config: ModelConfig) -> Tensor:
    """The same for any torch and any output, each chunk's logits computed twice."""

    def loss(part: Tensor, of_part: Tensor) -> Tensor:
        logits = to_logits(F.linear(part, weight), config)
        return F.cross_entropy(logits, of_part, reduction="sum")

    rows = max(1, EVAL_LOGITS // len(weight))
    parts = zip(features.split(rows), targets.split(rows), strict=True)
    return sum(checkpoint(loss, *part, use_reentrant=False) for part in parts) / len(targets)


def scored_logits(model: Network, batch: Batch, scoring: Scoring) -> tuple[Tensor, Tensor]:
    """Logits (N, V) and targets (N,), row by row, of all scored tokens, and perhaps of others."""
    drops = model.config.dropout and model.training
    sharing = isinstance(model, Transformer) and not drops and not batch.tokens.is_cuda  # the search would stall a GPU
    if sharing and scoring in ("last", "few"):
        scored = batch.targets != IGNORE
        return fast.logits_of_scored(model, batch.tokens, scored), batch.targets[scored]
    if scoring == "last":
        return model(batch.tokens, last=True), batch.targets[:, -1]
    return model(batch.tokens, batch.lengths).flatten(0, 1), batch.targets.flatten()


def precision(config: TrainConfig, device: str) -> torch.autocast:
    """The context that runs matrix products in 16 bits, if the config says so; weights and logits stay in float32."""
    return torch.autocast(device, getattr(torch, config.precision), enabled=config.precision != "float32")


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


def evaluate(model: Network, split: Batch | Windows, scoring: Scoring) -> tuple[float, float]:
    """(loss, accuracy) over a whole split: nats per scored token; share of sequences with every scored token right.

    Of a corpus: over its evaluated windows, and the share of tokens.
    """
    if scoring == "all":
        return evaluate_tokens(model, split)
    nll, n_right, n_scored = 0.0, 0, 0
    with evaluating(model):
        for part in split.parts(EVAL_TOKENS):
            logits, targets = scored_logits(model, part, scoring)
            nll += F.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="sum").item()
            scored = part.targets != IGNORE
            right = torch.ones_like(scored)
            right[scored] = (logits.argmax(-1) == targets)[targets != IGNORE]
            n_right += int(right.all(1).sum())
            n_scored += int(scored.sum())
    return nll / n_scored, n_right / split.size


def evaluate_tokens(model: Network, windows: Windows) -> tuple[float, float]:
    """(loss, accuracy) per token of the evaluated windows."""
    nll, n_right, n = 0.0, 0, 0
    rows = max(1, EVAL_LOGITS // len(model.output_weight))
    with evaluating(model):
        for part in windows.parts(EVAL_TOKENS):
            states = model.states(part.tokens).flatten(0, 1)
            for some, targets in zip(states.split(rows), part.targets.flatten().split(rows), strict=True):
                logits = model.logits(some)
                nll += F.cross_entropy(logits, targets, reduction="sum").item()
                n_right += int((logits.argmax(-1) == targets).sum())
                n += len(targets)
    return nll / n, n_right / n


def answers(model: Network, split: Batch) -> Tensor:
    """The token (N,), int16, that the model holds most likely after each sequence of a split; nothing padded."""
    with evaluating(model):
        best = [scored_logits(model, part, "last")[0].argmax(-1) for part in split.parts(EVAL_TOKENS)]
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
