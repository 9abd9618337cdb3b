"""What every data set hands to the training loop: splits of sequences, each split one Batch of tensors."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from lib.support.streams import stream
from lib.tokenizer import Tokenizer

# which targets are scored: each sequence's final one, under half of all (padding counts), more, all of a corpus; "few"
# and "last" tell lib/training/prefixes.py where sharing prefixes pays
Scoring = Literal["last", "few", "most", "all"]
IGNORE = -100  # a target that is not scored; PyTorch's default ignore_index


class Batch(NamedTuple):
    """B sequences, padded on the right to T tokens.

    `targets[b, t]` is the token that follows `tokens[b, t]`, or IGNORE where the loss does not count that token.
    The equation 12/5=80 has a token per number, and only the answer is scored:

        tokens    12    /    5    =
        targets   -     -    -   80          (- is IGNORE)

    The text "hi" is scored on every token:

        tokens   <bos>  h    i
        targets    h    i  <eos>
    """

    tokens: Int[Tensor, "B T"]
    targets: Int[Tensor, "B T"]
    lengths: Int[Tensor, " B"] | None  # tokens before the padding; None if no sequence is padded

    def __getitem__(self, rows: Tensor | slice) -> "Batch":  # type: ignore[override]
        """The batch of some rows."""
        at = (torch.arange(self.size)[rows] if isinstance(rows, slice) else rows).to(self.tokens.device)
        lengths = None if self.lengths is None else self.lengths.index_select(0, at)
        return Batch(self.tokens.index_select(0, at), self.targets.index_select(0, at), lengths)

    def to(self, device: torch.device | str) -> "Batch":
        lengths = None if self.lengths is None else self.lengths.to(device)
        return Batch(self.tokens.to(device), self.targets.to(device), lengths)

    @property
    def size(self) -> int:
        return self.tokens.shape[0]

    @property
    def width(self) -> int:
        """T, tokens per sequence with its padding."""
        return self.tokens.shape[1]

    @property
    def scoring(self) -> Scoring:
        if self.lengths is None and bool((self.targets[:, :-1] == IGNORE).all()):
            return "last"
        return "few" if (self.targets != IGNORE).float().mean() < 0.5 else "most"

    def parts(self, n_tokens: int) -> Iterator["Batch"]:
        """All rows in order, in pieces of at most `n_tokens` tokens, or of one row."""
        rows = max(1, n_tokens // self.width)
        return (self[start : start + rows] for start in range(0, self.size, rows))  # type: ignore[misc]


def collate(sequences: list[list[int]], unscored: list[int], pad: int) -> Batch:
    """The Batch of whole sequences of ids; the first `unscored[i]` targets of sequence i are left out of the loss."""
    lengths = torch.tensor([len(ids) - 1 for ids in sequences])
    T = int(lengths.max())
    at = torch.arange(T + 1)
    ids = torch.full((len(sequences), T + 1), pad)
    ids[at <= lengths[:, None]] = torch.tensor([i for sequence in sequences for i in sequence])
    inside = at[:T] < lengths[:, None]
    scored = inside & (at[:T] >= torch.tensor(unscored)[:, None])
    tokens, targets = ids[:, :-1].where(inside, pad), ids[:, 1:].where(scored, IGNORE)
    return Batch(tokens, targets, lengths if (lengths < T).any() else None)


@dataclass(frozen=True)
class Dataset:
    tokenizer: Tokenizer
    splits: Mapping[str, Any]  # "train", perhaps "val" and "test": each a Batch, or rows of a corpus with its methods
    facts: dict[str, Any] = field(default_factory=dict)  # what the summary tells of a corpus

    def to(self, device: torch.device | str) -> "Dataset":
        return replace(self, splits={name: split.to(device) for name, split in self.splits.items()})

    @property
    def scoring(self) -> Scoring:
        """That of the split with the most scored tokens."""
        kinds: tuple[Scoring, ...] = ("last", "few", "most", "all")
        return max((split.scoring for split in self.splits.values()), key=kinds.index)


def batch_rows(n: int, batch_size: int, step: int, seed: int) -> Int[Tensor, " batch_size"]:
    """The rows of the batch of `step`, out of n.

    Batches are cut from an endless stream of permutations of all rows, one per epoch. So every row is seen equally
    often, and no batch is short. The rows depend on the arguments alone: a resumed run needs no sampler state.
    """
    if batch_size % n == 0:
        return torch.arange(n).repeat(batch_size // n)  # whole epochs: the order does not matter
    first, last = step * batch_size, (step + 1) * batch_size
    epochs = range(first // n, (last - 1) // n + 1)
    rows = torch.cat([permutation(n, seed, epoch) for epoch in epochs])
    return rows[first - epochs[0] * n : last - epochs[0] * n]


@lru_cache(maxsize=4)
def permutation(n: int, seed: int, epoch: int) -> Int[Tensor, " n"]:
    own = seed * 1_000_003 + epoch  # the rule of the stored runs, up to what torch's generator tells apart
    own = own if own < 2**32 else stream(seed, "batches of epoch", epoch)
    return torch.randperm(n, generator=torch.Generator().manual_seed(own))
