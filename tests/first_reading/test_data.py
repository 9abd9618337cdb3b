"""The order of the batches."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from lib.data import batch_rows


@given(st.integers(1, 50), st.integers(1, 60), st.integers(0, 5))
def test_batches_see_every_row_equally_often(n: int, batch_size: int, seed: int) -> None:
    """After s steps no row has been seen more than once more often than another; none twice within an epoch."""
    counts = torch.zeros(n, dtype=torch.int64)
    for step in range(12):
        rows = batch_rows(n, batch_size, step, seed)
        assert len(rows) == batch_size
        counts += torch.bincount(rows, minlength=n)
        assert counts.max() - counts.min() <= 1
