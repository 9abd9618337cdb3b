"""A corpus as rows of tokens, read from a mapped file when they are asked for."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from lib.data import Batch, Scoring


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

    @property
    def scoring(self) -> Scoring:
        return "all"

    def parts(self, n_tokens: int) -> Iterator[Batch]:
        """The evaluated rows, in pieces of at most `n_tokens` tokens, or of one row."""
        chosen = torch.arange(self.n_evaluated) * self.size // self.n_evaluated
        return (self[rows] for rows in chosen.split(max(1, n_tokens // self.width)))
