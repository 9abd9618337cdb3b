"""What every data set hands to the training loop: splits of sequences, each split one Batch of tensors."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from lib.tokenizer import Tokenizer

Scoring = Literal["last", "few", "most", "all"]
IGNORE = -100  # a target that is not scored; PyTorch's default ignore_index


class Batch(NamedTuple):
    """B sequences, padded on the right to T tokens.

    `targets[b, t]` is the token that follows `tokens[b, t]`, or IGNORE where the loss does not count it.
    For the equation 12/5=80 with a token per number, of which only the answer is scored:

        tokens    12    /    5    =
        targets   -     -    -   80          (- is IGNORE)

    and for "hi", with the loss on everything:

        tokens   <bos>  h    i
        targets    h    i  <eos>
    """

    tokens: Tensor  # (B, T) int64
    targets: Tensor  # (B, T) int64
    lengths: Tensor | None  # (B,) int64, tokens before the padding; None if no sequence is padded

    def __getitem__(self, rows: Tensor | slice) -> "Batch":  # type: ignore[override]
        """The batch of some rows."""
        if isinstance(rows, Tensor):
            rows = rows.to(self.tokens.device)
        return Batch(self.tokens[rows], self.targets[rows], None if self.lengths is None else self.lengths[rows])

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

    def parts(self, n_tokens: int) -> Iterator["Batch"]:
        """All rows in order, in pieces of at most `n_tokens` tokens, or of one row."""
        rows = max(1, n_tokens // self.width)
        return (self[slice(start, start + rows)] for start in range(0, self.size, rows))


@dataclass(frozen=True)
class Windows:
    """A long text in rows of `width` tokens that follow one another, each token scored; a Batch is made when asked.

    `ids` (n,) may be mapped from a file: only the rows asked for are read.
    """

    ids: np.ndarray
    width: int
    n_evaluated: int  # rows that an evaluation looks at, spread evenly over all
    device: torch.device | str = "cpu"

    def __getitem__(self, rows: Tensor) -> Batch:
        starts = rows.numpy()[:, None] * self.width
        ids = torch.from_numpy(self.ids[starts + np.arange(self.width + 1)].astype(np.int64)).to(self.device)
        return Batch(ids[:, :-1], ids[:, 1:], None)

    def to(self, device: torch.device | str) -> "Windows":
        return replace(self, device=device)

    @property
    def size(self) -> int:
        return (len(self.ids) - 1) // self.width

    def parts(self, n_tokens: int) -> Iterator[Batch]:
        """The evaluated rows, in pieces of at most `n_tokens` tokens, or of one row."""
        chosen = torch.arange(self.n_evaluated) * self.size // self.n_evaluated
        return (self[rows] for rows in chosen.split(max(1, n_tokens // self.width)))


def collate(sequences: list[list[int]], unscored: list[int], pad: int) -> Batch:
    """The Batch of whole sequences of ids, the first `unscored[i]` targets of sequence i left out of the loss."""
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
    splits: dict[str, Batch | Windows]  # "train", and where the data has them "val" and "test"
    facts: dict[str, Any] = field(default_factory=dict)  # what the summary tells of a corpus

    def to(self, device: torch.device | str) -> Self:
        return replace(self, splits={name: split.to(device) for name, split in self.splits.items()})

    @property
    def longest(self) -> int:
        """Tokens in the longest sequence."""
        return max(split.width for split in self.splits.values())

    @property
    def scoring(self) -> Scoring:
        """Which tokens are scored: of each sequence its last alone, fewer than half, or more; of a corpus all."""
        batches = self.splits.values()
        if any(isinstance(split, Windows) for split in batches):
            return "all"
        if all(b.lengths is None and bool((b.targets[:, :-1] == IGNORE).all()) for b in batches):
            return "last"
        return "few" if all((b.targets != IGNORE).float().mean() < 0.5 for b in batches) else "most"


def batch_rows(n: int, batch_size: int, step: int, seed: int) -> Tensor:
    """Rows (batch_size,) of the batch of `step`, out of n.

    The batches are cut from an endless stream of permutations of all rows, one per epoch, so that every row is seen
    equally often and no batch is short. It depends on nothing but its arguments: a resumed run needs no sampler state.
    """
    if batch_size % n == 0:
        return torch.arange(n).repeat(batch_size // n)  # whole epochs: the order does not matter
    first, last = step * batch_size, (step + 1) * batch_size
    epochs = range(first // n, (last - 1) // n + 1)
    stream = torch.cat([permutation(n, seed, epoch) for epoch in epochs])
    return stream[first - epochs[0] * n : last - epochs[0] * n]


@lru_cache(maxsize=4)
def permutation(n: int, seed: int, epoch: int) -> Tensor:
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))
