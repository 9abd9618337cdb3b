"""Runs trained together: each as alone, whatever its companions."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import bare_metrics, digits, weights

from lib import train as command_line
from lib.config import RunConfig
from lib.experiments.catalogue import EXPERIMENTS
from lib.objective import Objective
from lib.runs.run import Run
from lib.runs.stored import run_all, train_all
from lib.support.errors import UserError
from lib.training import stack
from lib.training.datasets import load_data
from lib.training.stack import train_stack
from lib.training.trainer import Interrupted, train

Changes = dict[str, Any]
# what may differ from member to member; the last one ends early
DIFFERENT: list[Changes] = [
    {},
    {"seed": 1, "data.split_seed": 3, "optim.lr": 3e-3, "optim.weight_decay": 0.1, "optim.beta2": 0.95},
    {"seed": 2, "optim.decay": "all", "optim.schedule": "cosine", "optim.clip": 0.5, "optim.warmup_steps": 3},
    {"seed": 3, "optim.grokfast": 0.5, "train.eval_every": 4, "train.max_steps": 13},
]


@pytest.fixture
def short(tiny: RunConfig) -> RunConfig:
    """Twenty steps of division mod 11."""
    return tiny.override({"train.max_steps": 20, "train.eval_every": 5})


def trained(folder: Path, base: RunConfig, *cells: Changes) -> list[Path]:
    """The folders of runs that were trained in one stack."""
    runs = {folder / str(i): base.override(changes) for i, changes in enumerate(cells)}
    train_stack(runs)
    return list(runs)


def assert_alike(folder: Path, other: Path, within: float = 1e-5) -> None:
    """Both runs have the same metrics, all but time_s."""
    one, two = Run(folder).metrics, Run(other).metrics
    for name in one.keys() - {"time_s"}:
        np.testing.assert_allclose(one[name], two[name], rtol=within, atol=within, err_msg=name)


@pytest.mark.parametrize(("optimizer", "within"), [("adamw", 1e-5), ("adam", 1e-5), ("muon", 1e-3)])
def test_a_member_is_the_run_alone(short: RunConfig, tmp_path: Path, optimizer: str, within: float) -> None:
    """Muon orthogonalises in bfloat16, in which the last bits of a gradient become its third digit."""
    base = short.override({"optim.name": optimizer})
    for folder, changes in zip(trained(tmp_path, base, *DIFFERENT), DIFFERENT, strict=True):
        alone = folder.with_suffix(".alone")
        train(base.override(changes), alone)
        assert_alike(folder, alone, within)
        assert {path.name for path in folder.iterdir()} == {path.name for path in alone.iterdir()}


@pytest.mark.parametrize(
    "changes",
    [
        {"model.frozen_embeddings": True, "model.norm_placement": "post"},
        {"model.positions": "rope", "model.tied": False},
    ],
)
def test_a_member_is_the_run_alone_whatever_the_network(short: RunConfig, tmp_path: Path, changes: Changes) -> None:
    base = short.override(changes | {"train.max_steps": 5})
    [folder, _] = trained(tmp_path / "stack", base, {}, {"seed": 1})
    train(base, tmp_path / "alone")
    assert_alike(folder, tmp_path / "alone")


def test_muon_differs_by_bfloat16_alone(short: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)
    base = short.override({"optim.name": "muon", "train.max_steps": 10})
    folder, _ = trained(tmp_path / "stack", base, *DIFFERENT[1:3])
    train(base.override(DIFFERENT[1]), tmp_path / "alone")
    assert_alike(folder, tmp_path / "alone")


def test_answers_of_several_tokens(short: RunConfig, tmp_path: Path) -> None:
    base = RunConfig(digits("+", 11), short.model, short.optim, short.train).override({"train.max_steps": 5})
    [folder, _] = trained(tmp_path / "stack", base, {}, {"seed": 1})
    train(base, tmp_path / "alone")
    assert_alike(folder, tmp_path / "alone")


def test_companions_do_not_matter(short: RunConfig, tmp_path: Path) -> None:
    ends_early = {"seed": 5, "optim.lr": 0.5, "train.max_steps": 6}
    one, *_ = trained(tmp_path / "some", short, *DIFFERENT[:3])
    other, *_ = trained(tmp_path / "others", short, {}, DIFFERENT[3], ends_early)
    assert bare_metrics(one) == bare_metrics(other)
    assert weights(one) == weights(other)


def test_a_member_has_an_ordinary_folder_and_its_own_end(short: RunConfig, tmp_path: Path) -> None:
    easy = {"train.max_steps": 40, "train.stop_at": 0.01}
    folders = trained(tmp_path, short, {}, easy)
    assert [Run(folder).summary["steps"] for folder in folders] == [20, Run(folders[1]).metrics["step"][-1]]
    for folder in folders:
        run = Run(folder)
        model, _, config = run.load()
        data = load_data(config)
        found = Objective(model, data.scoring, config.train).evaluate(data.splits["test"])
        assert found == pytest.approx((run.summary["test_loss"], run.summary["test_acc"]), rel=1e-5)
        assert "in a stack of 2 runs" in run.log and "done" in run.log


def test_a_member_that_diverges_leaves_the_others_alone(short: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"run 1: the loss of step \d+ is not finite"):
        trained(tmp_path, short, {}, {"optim.lr": 1e30})
    assert Run(tmp_path / "0").diverged_at is None
    assert Run(tmp_path / "1").diverged_at is not None


@pytest.mark.parametrize(("optimizer", "within"), [("adamw", 1e-5), ("muon", 1e-3)])
def test_a_stopped_stack_goes_on(
    short: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str, within: float
) -> None:
    """In a stack, or each member alone; a member that had ended stays as it is."""
    asked = count()

    @contextmanager
    def after_seven_steps() -> Iterator[Callable[[], bool]]:
        yield lambda: next(asked) == 6

    base = short.override({"optim.name": optimizer, "optim.grokfast": 0.2})
    cells = [{}, {"seed": 1, "data.split_seed": 1}, {"seed": 2, "train.max_steps": 5}]
    monkeypatch.setattr(stack.processes, "stop_signal", after_seven_steps)
    with pytest.raises(Interrupted, match="stopped at step 7"):
        trained(tmp_path, base, *cells)
    monkeypatch.undo()
    folders = [tmp_path / str(i) for i in range(3)]
    assert [(folder / "state.pt").exists() for folder in folders] == [True, True, False]
    kept = torch.load(folders[0] / "state.pt", weights_only=True)["model"]["embed.weight"]
    assert kept.untyped_storage().nbytes() == kept.nbytes  # its own, not the stack's
    train_stack({folders[0]: base})
    train(base.override(cells[1]), folders[1])
    for folder, changes in zip(folders, cells, strict=True):
        train(base.override(changes), folder.with_suffix(".alone"))
        assert_alike(folder, folder.with_suffix(".alone"), within)
        assert not (folder / "state.pt").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("data.task", "text"), ("model.kind", "lstm"), ("model.dropout", 0.1), ("optim.name", "lion")),
        *(("optim.orthogonal", True), ("optim.methods", "row_clip=1"), ("train.precision", "float16")),
        ("train.accumulation", 2),
    ],
)
def test_what_cannot_be_in_a_stack_is_named(tiny: RunConfig, tmp_path: Path, name: str, value: object) -> None:
    with pytest.raises(UserError, match=f"^{name} = .* in a stack$"):
        train_stack({tmp_path / "run": tiny.override({name: value})})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("changes", [{"model.d_model": 32}, {"data.p": 13}, {"train.batch_size": 8}])
def test_members_must_be_of_one_shape(tiny: RunConfig, tmp_path: Path, changes: Changes) -> None:
    [name] = changes
    with pytest.raises(UserError, match=f"^{name} = .* in a stack, as of its first run$"):
        trained(tmp_path, tiny, {}, changes)


def test_runs_of_one_shape_share_a_stack(tiny: RunConfig) -> None:
    cells = [{}, {"model.d_ff": 8}, {"seed": 1}, {"optim.lr": 0.1}, {"seed": 1, "model.d_ff": 8}]
    runs = {Path(str(i)): tiny.override(changes) for i, changes in enumerate(cells)}
    assert [list(map(str, some)) for some in stack.stacks(runs, 2)] == [["0", "2"], ["3"], ["1", "4"]]


def test_the_option(tiny: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configs = [tiny.override({"train.max_steps": 3, "seed": seed}) for seed in range(3)]
    monkeypatch.setitem(EXPERIMENTS, "small", lambda: configs)
    monkeypatch.setattr(command_line.signal, "signal", lambda *_: None)
    assert command_line.main(["small", "--stack", "2", "--checkpoints", str(tmp_path)]) == 0
    runs = run_all("small", configs, root=tmp_path, stack=2)
    assert ["in a stack of 2" in run.log for run in runs] == [True, True, False]
    before = runs[0].summary
    train_all({"small": configs}, root=tmp_path, stack=3, fresh=True)
    assert ["in a stack of 3" in Run(run.path).log for run in runs] == [True] * 3
    assert Run(runs[0].path).summary["test_loss"] == pytest.approx(before["test_loss"], rel=1e-5)


def test_the_option_stands_alone(tiny: RunConfig, tmp_path: Path) -> None:
    for options, said in (
        ({"stack": 0}, "--stack 0: must be at least 1"),
        ({"stack": 2, "workers": 2}, "--stack 2: does not work with --workers"),
        ({"stack": 2, "shard": True}, "--stack 2: does not work with --shard"),
        ({"stack": 2, "backends": ["tensorboard"]}, "--stack 2: does not work with --tracker"),
    ):
        with pytest.raises(UserError, match=f"^{said}"):
            train_all({"small": [tiny]}, root=tmp_path, **options)
    assert not (tmp_path / "small").exists()
