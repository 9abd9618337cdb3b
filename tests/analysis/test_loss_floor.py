"""The lowest loss on a text to memorise."""

import pytest
import torch

from lib import tasks
from lib.analysis.comparison import loss_floor
from lib.config import DataConfig


def test_loss_floor_is_the_entropy_that_the_context_leaves() -> None:
    whole = tasks.load_sentence(DataConfig(task="text", text="abab")).splits["train"]
    assert loss_floor(whole) == 0
    # <bos> a b a b <eos>: of the five predictions, a is followed by b twice, b once by a and once by <eos>
    pairs = tasks.load_sentence(DataConfig(task="text", text="abab", window=1)).splits["train"]
    assert loss_floor(pairs) == pytest.approx(2 * torch.log(torch.tensor(2.0)).item() / 5)
