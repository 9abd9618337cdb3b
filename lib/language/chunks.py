"""The objective of a corpus: the loss in chunks of tokens, so that no more than a chunk's logits are ever held."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from lib.config import ModelConfig
from lib.data import Batch
from lib.language.corpora import Windows
from lib.model import to_logits
from lib.objective import EVAL_TOKENS, Objective, evaluating

CHUNK_LOGITS = 2**24  # numbers at a time, where a vocabulary is large
ROWS, BLOCK = 512, 1024  # rows and columns of logits that fit into a processor's cache
LOG_2 = math.log(2)
SHORT = 128  # tokens


class CorpusObjective(Objective):
    """The loss per token of a corpus, of which every token is scored."""

    def forward(self, batch: Batch) -> Tensor:
        """Mean nats per token, a scalar."""
        if self.config.whole_logits:
            return super().forward(batch)
        device = batch.tokens.device
        rounded = self.config.precision == "bfloat16" and device.type == "cpu"
        with self.precision(device):
            return chunked_loss(self.network, batch, torch.bfloat16 if rounded else torch.float32)

    def evaluate(self, windows: Windows) -> tuple[float, float]:
        """Loss in nats and accuracy per token of the evaluated windows."""
        return self.with_network(evaluate_tokens, windows)

    def with_network(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """`function` of the network, evaluated as the network is; shards are gathered (training/distributed.py)."""
        with evaluating(self.network), self.precision(next(self.network.parameters()).device):
            return function(self.network, *args, **options)


def chunked_loss(network: nn.Module, batch: Batch, dtype: torch.dtype) -> Tensor:
    """The mean loss per token, which never holds the logits (tokens, V) of more than a chunk; nothing is padded.

    Matrices of the output layer are multiplied as `dtype`; probabilities, losses and their sums are in float32.
    """
    short = dtype == torch.bfloat16 and batch.width <= SHORT and not network.checkpointing
    with short_attention() if short else nullcontext():
        states = network.states(batch.tokens)
    features, targets = network.features(states).flatten(0, 1), batch.targets.flatten()  # (B T, D), (B T,)
    with torch.autocast(features.device.type, enabled=False):
        if network.config.output == "softmax" and network.config.temperature == 1:
            return LossInBlocks.apply(features, network.output_weight, targets, dtype)
        return checkpointed_loss(features, network.output_weight, targets, network.config)


@contextmanager
def short_attention() -> Iterator[None]:
    """Attention by matrix products and a softmax: in bfloat16 on a CPU torch's fused kernel takes three times as long.

    It keeps a T x T matrix per head, hence for short sequences only; and the blocks that activation checkpointing
    computes again, outside of this context, would take the other way.
    """
    before = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()  # applies to CPUs as well
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(before)


class LossInBlocks(torch.autograd.Function):
    """Mean cross-entropy of the softmax of `features @ weight.T`, its gradient computed along with it.

    The logits of some rows are made in blocks that fit into a processor's cache, and become exponentials there. The
    sums over all blocks tell by what to multiply each block to make probabilities of it, and their products with
    `weight` and `features` are the gradient. Powers of 2, because exp takes three times as long as exp2.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, targets: Tensor, dtype: torch.dtype) -> Tensor:
        """features (N, D), weight (V, D), targets (N,); matrices are multiplied as `dtype` -> scalar."""
        N, V, of_targets = len(features), len(weight), weight[targets]
        rows, columns = (ROWS, BLOCK) if features.device.type == "cpu" else (max(1, CHUNK_LOGITS // V), V)
        nll = -(features * of_targets).sum()
        grad_features = of_targets.div_(-N)
        grad_weight = torch.zeros_like(weight).index_add_(0, targets, features, alpha=-1 / N)
        blocks, grad_blocks = weight.to(dtype).split(columns), grad_weight.split(columns)
        for x, grad_x in zip(features.split(rows), grad_features.split(rows), strict=True):
            to_base_2, x = (x / LOG_2).to(dtype), x.to(dtype)
            exponentials, tops, sums = [], [], []
            for block in blocks:
                z = (to_base_2 @ block.T).float()
                tops.append(z.amax(1, keepdim=True))
                exponentials.append(z.sub_(tops[-1]).exp2_())
                sums.append(z.sum(1, keepdim=True))
            top = torch.cat(tops, 1)  # (rows, blocks)
            highest = top.amax(1, keepdim=True)
            shares = (top - highest).exp2_()
            total = (shares * torch.cat(sums, 1)).sum(1, keepdim=True)
            nll += LOG_2 * (total.log2() + highest).sum()
            factors = (shares / (N * total)).split(1, 1)
            for part, factor, block, grad_block in zip(exponentials, factors, blocks, grad_blocks, strict=True):
                p = part.mul_(factor).to(dtype)
                grad_x += p @ block
                grad_block += p.T @ x
        ctx.save_for_backward(grad_features, grad_weight)
        return nll / N

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        grad_features, grad_weight = ctx.saved_tensors
        return grad_features.mul_(grad), grad_weight.mul_(grad), None, None


def checkpointed_loss(features: Tensor, weight: Tensor, targets: Tensor, config: ModelConfig) -> Tensor:
    """`chunked_loss` for any output; each chunk's logits are computed twice."""

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
