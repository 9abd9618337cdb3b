"""The tournament: what the trials choose, and how entries are compared."""

from copy import copy
from pathlib import Path

import numpy as np
import pytest
from conftest import made_up

from lib.analysis import tournament as analysis
from lib.config import RunConfig
from lib.experiments import tournament as plan
from lib.experiments.presets import vary
from lib.runs.run import Run
from lib.training.trainer import train


def test_equations_to_a_solved_validation_split_decide_then_its_accuracy(tiny: RunConfig, tmp_path: Path) -> None:
    grokked = made_up(tmp_path, tiny, 0, None, 10)  # the test split has no say

    def run(solved: int | None, at_end: float, batch_size: int = 16) -> Run:
        """The run, as if it had solved the validation split at a step."""
        made = copy(grokked)
        made.config = tiny.override({"train.batch_size": batch_size})
        val_acc = np.where(made.metrics["step"] >= (np.inf if solved is None else solved), 1.0, 0.5)
        made.metrics, made.summary = made.metrics | {"val_acc": val_acc}, made.summary | {"val_acc": at_end}
        return made

    settings = {
        "never, far": [run(None, 0.2)],
        "never, near": [run(None, 0.9)],
        "late": [run(60, 1.0)],
        "soon": [run(40, 1.0)],
        "sooner, but larger batches": [run(30, 1.0, batch_size=32)],
    }
    order = ["soon", "late", "sooner, but larger batches", "never, near", "never, far"]
    assert analysis.best(settings, 5) == order and analysis.best(settings, 2) == order[:2]


def test_two_rounds_choose_a_winner_and_what_is_known_stays(
    tiny: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "HOME", tiny)
    monkeypatch.setattr(
        plan, "ENTRIES", {"one": vary("optim.lr", 1e-2, 1e-6), "not trained": vary("optim.beta1", 0.5, 0.6)}
    )
    monkeypatch.setattr(plan, "RECORDS", {})
    monkeypatch.setattr(plan, "KEPT", {"second round": 1, "winner": 1})
    monkeypatch.setattr(plan, "CHOICES", tmp_path / "chosen.json")
    (tmp_path / "chosen.json").write_text('{"winner": {"not trained": ["0.5"]}}')
    short = {"train.max_steps": 20}
    for name in ("first_round", "second_round"):
        made = getattr(plan, name)
        monkeypatch.setattr(plan, name, lambda made=made: shortened(made(), short))
    for config in plan.all_of(plan.first_round()["one"]):
        train(config, tmp_path / "tournament_trials" / config.id)
    told = analysis.choices(tmp_path)
    assert told == {"winner": {"not trained": ["0.5"]}, "second round": {"one": ["0.01"]}}
    analysis.write_json(plan.CHOICES, told)
    for config in plan.all_of(plan.second_round()["one"]):
        train(config, tmp_path / "tournament_second_trials" / config.id)
    assert analysis.choices(tmp_path)["winner"] == {"not trained": ["0.5"], "one": ["0.01"]}
    assert plan.second_round()["one"]["0.01"][0].seed not in {run.seed for run in plan.first_round()["one"]["0.01"]}


def shortened(rounds: dict, changes: dict) -> dict:
    return {
        entry: {name: [run.override(changes) for run in runs] for name, runs in settings.items()}
        for entry, settings in rounds.items()
    }


def test_standings(tiny: RunConfig, tmp_path: Path) -> None:
    milestones = {"falls": (50, 0.5), "late": (50, 1.0), "quick": (20, 1.0), "never": (None, 1.0)}
    runs = {name: made_up(tmp_path / name, tiny, 0, 10, *values) for name, values in milestones.items()}
    cells = {
        "AdamW": [runs["falls"]] * 4 + [runs["never"]],
        "quick": [runs["quick"]] * 5,
        "never": [runs["never"]] * 5,
        "alike": [runs["late"]] * 4 + [runs["never"]],
    }
    told = analysis.standings(cells)
    assert told["AdamW"]["p"] is told["AdamW"]["p_holm"] is None and told["alike"]["p"] == 1
    assert told["quick"]["p"] < 0.01 < told["never"]["p"] < 0.05
    assert told["quick"]["p_holm"] == pytest.approx(3 * told["quick"]["p"])
    assert told["never"]["p_holm"] == pytest.approx(2 * told["never"]["p"])
    assert told["quick"]["equations"][0] == 20 * 16 and told["never"]["equations"] == [None] * 3
    assert (told["AdamW"]["stayed"], told["AdamW"]["quiet"]) == (0, 40)  # all fall at step 90
    assert (told["quick"]["stayed"], told["quick"]["quiet"]) == (5, 80)
    assert (told["never"]["stayed"], told["never"]["quiet"]) == (0, None)
    rows = analysis.standings_table(cells).data.splitlines()
    assert [row.split(" | ")[0] for row in rows[2:]] == ["| quick", "| AdamW", "| alike", "| never"]
    assert len({row.count("|") for row in rows}) == 1
    assert "| 5/5, 80 |" in rows[2] and rows[3].endswith("| – |") and "| 0/0 |" in rows[5]
