"""Language models compared: what is read from their runs."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from lib import tasks
from lib.analysis import comparison
from lib.config import DataConfig, RunConfig
from lib.language import corpora
from lib.runs.run import Run
from lib.training.trainer import train

STORY = "The cat sat on the mat. The dog sat on the log.\n<|endoftext|>\n" * 40


@pytest.fixture
def runs(tiny: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    monkeypatch.setattr(corpora, "CACHE", tmp_path / "cache")
    (tmp_path / "story.txt").write_text(STORY)
    text = {"data.task": "corpus", "data.corpus": str(tmp_path / "story.txt"), "data.tokenizer": "character"}
    config = tiny.override(text | {"data.window": 8, "data.eval_tokens": 64, "optim.weight_decay": 0})
    made = []
    for seed in (0, 1):
        train(config.override({"seed": seed}), tmp_path / str(seed))
        made.append(Run(tmp_path / str(seed)))
    return made


def test_what_comes_of_a_cell_is_read_at_the_best_evaluation(runs: list[Run]) -> None:
    told = comparison.at_best(runs)
    lowest = [run.metrics["val_loss"].min() for run in runs]
    assert told["val_loss"] == [np.median(lowest), min(lowest), max(lowest)] and told["n"] == 2
    assert told["val_ppl"][1] == pytest.approx(math.exp(min(lowest)))
    size = runs[0].summary["bytes_per_token"]["val"]
    assert told["val_bpb"][1] == pytest.approx(min(lowest) / math.log(2) / size)
    assert told["val_ppl"][0] < told["val_floor"] < 40, "it has learned from context"
    assert "test_ppl" not in told and told["n_params"] == told["n_learnable"]
    assert comparison.all_at_best({"cell": runs}) == {"cell": told}


def test_epochs_count_passes_over_the_windows(runs: list[Run]) -> None:
    [run, _] = runs
    windows = (run.summary["tokens"]["train"] - 1) // 8
    assert comparison.epochs(run)[-1] == pytest.approx(60 * 16 / windows)


def test_a_short_last_batch_that_counts_as_full_flatters() -> None:
    assert comparison.as_published(150.0, 1_088, 16) == 150.0
    biased = comparison.as_published(158.8, 1_090, 16)
    assert biased == pytest.approx(148.9, abs=0.1)  # as the assignment's log has it
    assert comparison.corrected(biased, 1_090, 16) == pytest.approx(158.8)


def test_the_lowest_median_is_chosen(runs: list[Run]) -> None:
    good, bad = sorted(runs, key=lambda run: run.metrics["val_loss"].min())
    assert comparison.chosen({"bad": [bad], "good": [good]}) == "good"


def test_ranges_are_written_once_if_they_are_points() -> None:
    assert comparison.ranged([80.11, 80.11, 80.11]) == "80.1"
    assert comparison.ranged([1080.1, 79.0, 1100.0]) == "1,080.1 (79.0–1,100.0)"


def test_loss_floor_is_the_entropy_that_the_context_leaves() -> None:
    whole = tasks.load_sentence(DataConfig(task="text", text="abab")).splits["train"]
    assert comparison.loss_floor(whole) == 0
    # <bos> a b a b <eos>: of the five predictions, a is followed by b twice, b once by a and once by <eos>
    pairs = tasks.load_sentence(DataConfig(task="text", text="abab", window=1)).splits["train"]
    assert comparison.loss_floor(pairs) == pytest.approx(2 * torch.log(torch.tensor(2.0)).item() / 5)
