"""The tournament: as many settings for each entry, all of which can be trained; what was chosen is among them."""

import json
from pathlib import Path

import pytest

from lib.analysis.tournament import choices
from lib.experiments import tournament as t
from lib.experiments.catalogue import EXPERIMENTS, TOURNAMENT
from lib.methods import table
from lib.support.errors import UserError
from lib.tasks import split


@pytest.fixture
def decided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the trials had been run: the first four of each entry, and the last."""
    entries = t.ENTRIES | t.RECORDS
    told = {"second round": {name: list(cells)[:4] for name, cells in entries.items()}}
    told["winner"] = {name: [list(cells)[-1]] for name, cells in entries.items()}
    (tmp_path / "chosen.json").write_text(json.dumps(told))
    monkeypatch.setattr(t, "CHOICES", tmp_path / "chosen.json")


def test_each_entry_has_16_settings(decided: None) -> None:
    for name, settings in (t.ENTRIES | t.RECORDS).items():
        assert len({t.HOME.override(changes) for changes in settings.values()}) == len(settings) == 16, name
    assert set(t.AUTHORS) <= {*t.ENTRIES, t.FROZEN}


def test_every_run_can_be_trained_and_the_arenas_have_fresh_seeds_and_splits(decided: None) -> None:
    tried = {run.seed for name, make in EXPERIMENTS.items() if name not in TOURNAMENT for run in make()}
    trials = {run.seed for name in ("tournament_trials", "tournament_second_trials") for run in TOURNAMENT[name]()}
    for name, make in TOURNAMENT.items():
        configs = make()
        assert len({config.id for config in configs}) == len(configs) and make.__doc__
        for config in {config.override({"seed": 0, "data.split_seed": 0}) for config in configs}:
            table.check(config)
        assert all(len(train.evaluation_steps()) < 80 for train in {config.train for config in configs})
        if name in ("tournament", "tournament_delayed", "tournament_little", "tournament_authors"):
            assert all(run.data.split_seed == run.seed for run in configs)
            assert not (tried | trials) & {run.seed for run in configs}
    sizes = [len(TOURNAMENT[name]()) for name in ("tournament_trials", "tournament_second_trials", "tournament")]
    n = len(t.ENTRIES) + len(t.RECORDS)
    assert sizes == [n * 16, n * 4 * 2, (n + 1) * 20]


def test_every_method_is_in_the_tournament() -> None:
    texts = [cell.get("optim.methods", "") for cells in t.ENTRIES.values() for cell in cells.values()]
    texts += [changes.get("optim.methods", "") for changes in [*t.AUTHORS.values(), t.FREEZING]]
    assert all(any(name in text for text in texts) for name in table.KNOWN)


def test_a_full_batch_is_the_train_split() -> None:
    assert t.FULL_BATCH["train.batch_size"] == len(split(t.HOME.data)["train"])


def test_a_winner_goes_on_with_what_the_arena_changes(decided: None) -> None:
    [*_, last] = t.ENTRIES["Lion"].values()
    for run in t.arena(t.DELAYED)["Lion"]:
        assert run == t.HOME.override(last | t.DELAYED | {"seed": run.seed, "data.split_seed": run.seed})
    frozen = t.arena({}, [t.FROZEN])[t.FROZEN][0]
    assert frozen == t.arena({}, ["Muon"])["Muon"][0].override(t.FREEZING)


def test_an_arena_waits_for_the_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "chosen.json").write_text("{}")
    monkeypatch.setattr(t, "CHOICES", tmp_path / "chosen.json")
    with pytest.raises(UserError, match="has no second round yet; train tournament_trials, and then call"):
        t.tournament_second_trials()
    with pytest.raises(UserError, match="no winner for AdamW yet; train tournament_second_trials"):
        t.tournament()


def test_what_is_written_down_is_what_the_stored_trials_choose() -> None:
    assert t.known() == choices()
