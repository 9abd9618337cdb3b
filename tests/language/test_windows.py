"""A corpus in windows."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from lib.language.corpora import Windows


@given(st.integers(2, 200), st.integers(1, 20))
def test_windows_follow_one_another_and_cover_the_text(n: int, width: int) -> None:
    windows = Windows(np.arange(n, dtype=np.uint16), width, 1)
    rows = windows[torch.arange(windows.size)]
    assert rows.tokens.shape == (windows.size, width) and rows.lengths is None
    assert rows.tokens.flatten().tolist() == list(range(windows.size * width))
    assert torch.equal(rows.targets, rows.tokens + 1)
    assert 0 <= n - 1 - windows.size * width < width, "another row would have fitted"


@given(st.data(), st.integers(1, 60), st.integers(1, 5), st.integers(1, 40))
def test_evaluated_rows_are_spread_over_the_split(data: st.DataObject, size: int, width: int, n_tokens: int) -> None:
    n = data.draw(st.integers(1, size))
    parts = list(Windows(np.arange(size * width + 1), width, n).parts(n_tokens))
    assert all(part.tokens.numel() <= max(n_tokens, width) for part in parts)
    rows = torch.cat([part.tokens[:, 0] for part in parts]) // width
    gaps = rows.diff(append=torch.tensor([rows[0] + size]))  # the last one's to the end, and round
    assert len(rows) == n and rows[0] == 0
    assert (gaps >= size // n).all() and (gaps <= -(-size // n)).all()


def test_windows_are_handed_out_where_they_are_wanted() -> None:
    windows = Windows(np.arange(9), 4, 2)
    elsewhere = windows.to("meta")
    assert {part.tokens.device.type for part in elsewhere.parts(8)} == {"meta"}
    assert windows[torch.tensor([1])].targets.tolist() == [[5, 6, 7, 8]]
