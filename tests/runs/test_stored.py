"""Runs that are found, or trained because they are missing."""

from pathlib import Path

import pytest
from conftest import STORY_TEXT, weights

from lib.config import RunConfig
from lib.runs.live import agreement, run_live
from lib.runs.stored import find, run_all, train_all
from lib.support.errors import UserError
from lib.training.trainer import train


def test_several_experiments_share_one_pool_and_may_hold_the_same_config(tiny: RunConfig, tmp_path: Path) -> None:
    other = tiny.override({"seed": 1})
    train_all({"x": [tiny], "y": [other, tiny]}, root=tmp_path)
    assert {path.parent.name for path in tmp_path.glob(f"*/{tiny.id}")} == {"x", "y"}
    assert find("y", other, tmp_path) and not find("x", other, tmp_path)
    assert weights(tmp_path / "x" / tiny.id) == weights(tmp_path / "y" / tiny.id)


def test_fresh_empties_each_folder_only_when_its_run_begins(tiny: RunConfig, tmp_path: Path) -> None:
    good = tiny.override({"train.max_steps": 10})
    run_all("x", [good], root=tmp_path)
    with pytest.raises(UserError, match=r"model\.context_length"):
        run_all("x", [good, tiny.override({"model.context_length": 3})], fresh=True, root=tmp_path)
    assert find("x", good, tmp_path) is not None


def test_run_all_trains_what_is_missing_and_keeps_the_order(tiny: RunConfig, tmp_path: Path) -> None:
    configs = [tiny.override({"seed": seed, "train.max_steps": 10}) for seed in (2, 0, 1)]
    [first] = run_all("x", configs[:1], root=tmp_path)
    before = (tmp_path / "x" / configs[0].id / "summary.json").stat().st_mtime_ns
    runs = run_all("x", configs, workers=2, root=tmp_path)
    assert [run.config for run in runs] == configs
    assert (tmp_path / "x" / configs[0].id / "summary.json").stat().st_mtime_ns == before
    run_all("x", configs[:1], fresh=True, root=tmp_path)
    assert (tmp_path / "x" / configs[0].id / "summary.json").stat().st_mtime_ns != before
    assert agreement(run_live(configs[0]), first).endswith("agree at all 2 evaluations up to step 10")


def test_a_text_that_has_changed_is_not_the_one_that_a_run_was_trained_on(story: RunConfig, tmp_path: Path) -> None:
    [run] = run_all("x", [story], root=tmp_path)
    begun = story.override({"seed": 1})
    with pytest.raises(KeyError):
        train(begun, tmp_path / "x" / begun.id, show=lambda row: {}[row["step"]])
    Path(story.data.corpus).write_text(STORY_TEXT + "One more line.\n")
    for config in (story, begun):
        with pytest.raises(UserError, match=r"story\.txt.*has changed since.*use --fresh"):
            train_all({"x": [config]}, root=tmp_path, workers=1)
    [again] = run_all("x", [story], root=tmp_path, fresh=True)
    assert again.summary["sha256"] != run.summary["sha256"]
