"""The objective of a corpus: the loss in chunks of tokens, so that no more than a chunk's logits are ever held."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lib.config import ModelConfig
from lib.data import Batch
from lib.language.corpora import Windows
from lib.model import to_logits
from lib.objective import EVAL_TOKENS, Objective, evaluating

CHUNK_LOGITS = 2**24  # numbers at a time, where a vocabulary is large


class CorpusObjective(Objective):
    """The loss per token of a corpus, of which every token is scored."""

    def forward(self, batch: Batch) -> Tensor:
        """Mean nats per token, a scalar."""
        if self.config.whole_logits:
            return super().forward(batch)
        with self.precision(batch.tokens.device):
            return chunked_loss(self.network, batch)

    def evaluate(self, windows: Windows) -> tuple[float, float]:
        """Loss in nats and accuracy per token of the evaluated windows."""
        return self.with_network(evaluate_tokens, windows)

    def with_network(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """`function` of the network, evaluated as the network is; shards are gathered (training/distributed.py)."""
        with evaluating(self.network), self.precision(next(self.network.parameters()).device):
            return function(self.network, *args, **options)


def chunked_loss(network: nn.Module, batch: Batch) -> Tensor:
    """The mean loss per token, which never holds the logits (tokens, V) of more than a chunk; nothing is padded.

    Logits and loss are in float32, as whole logits are. Recent versions of torch have one function, which computes each
    chunk's gradient along with its loss; older versions compute each chunk twice.
    """
    features = network.features(network.states(batch.tokens)).flatten(0, 1)  # (B T, D)
    weight, targets = network.output_weight, batch.targets.flatten()
    with torch.autocast(features.device.type, enabled=False):
        if network.config.output == "softmax" and hasattr(nn, "LinearCrossEntropyOptions"):
            return F.linear_cross_entropy(features, weight, targets, options=nn.LinearCrossEntropyOptions())
        return checkpointed_loss(features, weight, targets, network.config)


def checkpointed_loss(features: Tensor, weight: Tensor, targets: Tensor, config: ModelConfig) -> Tensor:
    """`chunked_loss` for any version of torch and any output; each chunk's logits are computed twice."""

    def loss(part: Tensor, of_part: Tensor) -> Tensor:
        logits = to_logits(F.linear(part, weight), config)
        return F.cross_entropy(logits, of_part, reduction="sum")

    rows = max(1, CHUNK_LOGITS // len(weight))
    parts = zip(features.split(rows), targets.split(rows), strict=True)
    return sum(checkpoint(loss, *part, use_reentrant=False) for part in parts) / len(targets)


def evaluate_tokens(model: nn.Module, windows: Windows) -> tuple[float, float]:
    """(loss, accuracy) per token of the evaluated windows."""
    nll, n_right, n = 0.0, 0, 0
    rows = max(1, CHUNK_LOGITS // len(model.output_weight))
    with evaluating(model):
        for part in windows.parts(EVAL_TOKENS):
            states = model.states(part.tokens).flatten(0, 1)
            for some, targets in zip(states.split(rows), part.targets.flatten().split(rows), strict=True):
                logits = model.logits(some)
                nll += F.cross_entropy(logits, targets, reduction="sum").item()
                n_right += int((logits.argmax(-1) == targets).sum())
                n += len(targets)
    return nll / n, n_right / n
