"""A run folder as it is read back."""

import json
from pathlib import Path

from conftest import TINY

from lib.config import RunConfig
from lib.runs.run import Run
from lib.runs.stored import run_all
from lib.training.folder import divergence, read_json
from lib.training.trainer import train

DIVERGES = TINY.override({"optim.name": "sgd", "optim.lr": 1e30, "model.norm": "none", "train.max_steps": 10})


def test_the_summary_of_a_diverged_run_tells_how(tmp_path: Path) -> None:
    train(DIVERGES, tmp_path)
    summary = read_json(tmp_path / "summary.json")
    told = "the loss of step 2 is not finite; learning rate 2e+29, at the first steps"
    assert (summary["diverged_at"], summary["divergence"]) == (2, told)
    assert divergence(summary) == Run(tmp_path).divergence == told
    assert f"diverged: {told}" in Run(tmp_path).log


def test_a_run_stored_before_summaries_told_it_has_diverged_too(tmp_path: Path) -> None:
    train(DIVERGES, tmp_path)
    summary = read_json(tmp_path / "summary.json")
    del summary["divergence"]
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    assert Run(tmp_path).divergence == "the loss of step 2 is not finite" and Run(tmp_path).diverged_at == 2


def test_a_run_that_did_not_diverge_says_nothing(tiny: RunConfig, tmp_path: Path) -> None:
    [run] = run_all("x", [tiny.override({"train.max_steps": 10})], root=tmp_path)
    assert (
        run.divergence is None
        and divergence(run.summary) is None
        and not {"divergence", "diverged_at"} & run.summary.keys()
    )
