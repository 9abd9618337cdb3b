"""The lowest loss that any causal model can reach on a text to memorise."""

import math
from collections import Counter, defaultdict

from lib.data import IGNORE, Batch


def loss_floor(batch: Batch) -> float:
    """The lowest mean loss (nats per scored token) that any causal model can reach on these sequences.

    Sequences that agree up to a position but not in what follows leave the entropy of what follows; it is zero where
    every prefix has one continuation, as in a single sequence.
    """
    following: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    for tokens, targets in zip(batch.tokens.tolist(), batch.targets.tolist(), strict=True):
        for t, target in enumerate(targets):
            if target != IGNORE:
                following[tuple(tokens[: t + 1])][target] += 1
    nll = sum(-n * math.log(n / counts.total()) for counts in following.values() for n in counts.values())
    return nll / sum(counts.total() for counts in following.values())
