"""What a changed number of steps means for schedule and stored runs is said, and what learned nothing."""

from pathlib import Path

import pytest
from conftest import TINY

from lib.objective import Row
from lib.runs.run import CHECKPOINTS, Run
from lib.support.files import write_json
from lib.train import changed, result
from lib.training.folder import CONFIG, at_chance
from lib.training.trainer import train


def test_a_schedule_follows_the_number_of_steps_unless_it_is_set(capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = Path("nowhere")
    assert {c.optim.fall_steps for c in changed("add_sub", {"train.max_steps": 3000}, nowhere)} == {0}
    assert not capsys.readouterr().err
    kept = changed("add_sub", {"train.max_steps": 3000, "optim.fall_steps": 2500}, nowhere)
    assert {c.optim.fall_steps for c in kept} == {2500}
    assert (
        capsys.readouterr().err
        == "add_sub: the learning rate has fallen to 0% at optim.fall_steps = 2500 of 3000 steps\n"
    )
    changed("recipe", {"train.max_steps": 3000}, nowhere)
    assert "fallen to 2% at optim.fall_steps = 400 of 3000 steps" in capsys.readouterr().err


def test_runs_of_another_length_are_not_begun_in_silence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed("memorize", {"train.max_steps": 1200}, CHECKPOINTS)
    assert "these begin at step 0" in capsys.readouterr().err
    assert [c.id for c in changed("memorize", {}, CHECKPOINTS)] and not capsys.readouterr().err
    [short] = changed("memorize", {"seed": 5, "train.max_steps": 50}, tmp_path)
    (tmp_path / "memorize" / short.id).mkdir(parents=True)
    write_json(tmp_path / "memorize" / short.id / CONFIG, short.to_dict())
    for steps, said in ((50, ""), (100, "these begin at step 0")):
        changed("memorize", {"seed": 5, "train.max_steps": steps}, tmp_path)
        told = capsys.readouterr().err
        assert said in told if said else not told


def test_pairs_without_an_answer_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    changed("recipe", {"data.operation": "a/b", "data.p": 12}, Path("nowhere"))
    assert (
        "data.operation = a/b: 96 of 144 pairs are left out: they have no answer modulo 12" in capsys.readouterr().err
    )
    changed("recipe", {"data.operation": "a*b", "data.p": 12}, Path("nowhere"))
    assert "left out" not in capsys.readouterr().err


@pytest.mark.parametrize(("accuracy", "nothing"), [(1 / 11, True), (0.2, True), (0.5, False)])
def test_a_network_at_chance_on_its_own_train_split_has_learned_nothing(
    accuracy: float, nothing: bool, tmp_path: Path
) -> None:
    row: Row = {"train_acc": accuracy, "train_loss": 1.0}
    assert at_chance(TINY, row) == nothing
    small = TINY.override({"data.p": 3})  # a guess is right once in three times: half of the split is no guessing
    assert at_chance(small, row) == (accuracy < 0.5)
    train(TINY.override({"optim.lr": 1e-9, "train.max_steps": 1, "train.eval_every": 1}), tmp_path)
    assert "at chance on its own train split: the network has learned nothing" in Run(tmp_path).log
    assert result(Run(tmp_path)).endswith(", at chance on its own train split")
    corpus = TINY.override({"data.task": "corpus", "data.tokenizer": "bpe", "data.window": 8})
    assert at_chance(corpus, row, {"train": 0.9}) and not at_chance(corpus, row, {"train": 1.1})
