"""A text to memorise, as one sequence or as all of its windows."""

import math
from collections import Counter, defaultdict

from lib.config import DataConfig
from lib.data import IGNORE, Batch, Dataset, collate
from lib.tokenizer import CharacterTokenizer


def load(config: DataConfig) -> Dataset:
    """`config.text` between <bos> and <eos>, a token per character; there is only a train split.

    With `window` = w the rows are all w-token pieces of it, wherever they begin, each with the w tokens that follow.
    """
    tokenizer = CharacterTokenizer.of(config.text)
    ids = [tokenizer.bos, *tokenizer.encode(config.text), tokenizer.eos]
    size = config.window + 1 if config.window else len(ids)
    sequences = [ids[start : start + size] for start in range(len(ids) - size + 1)]
    return Dataset(tokenizer, {"train": collate(sequences, [config.skip_loss] * len(sequences), tokenizer.pad)})


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
