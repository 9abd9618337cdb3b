"""One run trained by two real processes, connected by gloo."""

import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, MadeOnce, Stop, stop_at, story_in, weights

from lib.config import RunConfig
from lib.runs.run import Run
from lib.runs.stored import find, train_all
from lib.support.errors import UserError
from lib.support.files import write_json
from lib.training.folder import read_config
from lib.training.trainer import train


def two_processes(folder: Path, *args: object) -> None:
    """Runs `python ARGS…` in two processes with gloo, in a folder, on a copy of the library, whose cache lies there."""
    shutil.copytree(ROOT / "lib", folder / "lib", ignore=shutil.ignore_patterns("__pycache__"))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(folder)}
    argv = [*launch, *map(str, args)]
    done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr


ADAMW = {"optim.name": "adamw", "optim.lr": 1e-3, "data.vocab_size": 301}  # an odd number of rows to share


@pytest.mark.slow(15)
def test_two_processes_train_what_one_trains_and_go_on_where_one_stopped(story: RunConfig, tmp_path: Path) -> None:
    """By the command, each process with a shard of the weights, and computing blocks twice."""
    changes = ADAMW | {"model.tied": False, "train.activation_checkpointing": True}
    base = story.override(changes | {"train.accumulation": 2, "train.prompt": "the cat"})
    configs = [base.override({"seed": seed}) for seed in range(3)]  # as add_sub_adam's, once all else is overridden
    for config in configs:
        train(config, tmp_path / "alone" / config.id)
    place = tmp_path / "together" / "add_sub_adam"
    fresh, begun, stored = (place / config.id for config in configs)
    with pytest.raises(Stop):
        train(configs[1], begun, show=stop_at(4))
    shutil.copytree(tmp_path / "alone" / stored.name, stored)
    options = [f"--{name}={value}" for name, value in base.flat().items() if name != "seed"]
    two_processes(tmp_path, "-m", "lib.train", "add_sub_adam", "--checkpoints", place.parent, *options, "--shard")
    assert sorted(place.iterdir()) == sorted([fresh, begun, stored])
    assert "resumed at step 4" in Run(begun).log and "resumed" not in Run(fresh).log
    assert "2 processes, each with a shard of the weights" in Run(fresh).log
    for folder in (fresh, begun, stored):
        alone = tmp_path / "alone" / folder.name
        assert {path.name for path in folder.iterdir()} == {path.name for path in alone.iterdir()}
        agree(Run(alone), Run(folder))
    assert weights(stored) == weights(tmp_path / "alone" / stored.name)


def agree(one: Run, two: Run) -> None:
    assert two.samples.keys() == one.samples.keys() and two.summary.keys() == one.summary.keys()
    for column in set(one.metrics) - {"time_s"}:
        # sums in another order, which Adam amplifies
        assert two.metrics[column] == pytest.approx(one.metrics[column], rel=3e-6, nan_ok=True), column


# Muon's own products are in bfloat16; if each process orthogonalised its shards apart, losses would differ by 1e-4
SHARDED = {
    "adamw": (ADAMW | {"train.precision": "bfloat16"}, 1e-2),
    "muon": (ADAMW | {"optim.name": "muon", "optim.lr": 1e-2, "model.d_ff": 33}, 2e-5),
}


@pytest.fixture(scope="session")
def done_in_two_processes(made_once: MadeOnce) -> Path:
    """The folder in which in_two_processes.py did what it does, for the tests below."""

    def fill(folder: Path) -> None:
        base = story_in(folder)
        for name, (changes, _) in SHARDED.items():
            write_json(folder / f"{name}.json", base.override(changes | {"train.prompt": "the cat"}).to_dict())
        momentum = {"optim.name": "momentum", "optim.lr": 0.1, "train.accumulation": 2, "train.prompt": "the cat"}
        write_json(folder / "momentum.json", base.override(momentum).to_dict())
        write_json(folder / "dropout.json", base.override({"model.dropout": 0.2}).to_dict())
        two_processes(folder, Path(__file__).with_name("in_two_processes.py"))

    return made_once("two_processes", fill)


@pytest.mark.slow(1)
def test_two_processes_each_with_all_weights_train_what_one_trains(tmp_path: Path, done_in_two_processes: Path) -> None:
    two = Run(done_in_two_processes / "momentum")
    train(two.config, tmp_path / "alone")
    assert "2 processes, each with all of the weights" in two.log
    agree(Run(tmp_path / "alone"), two)


@pytest.mark.slow(25)
def test_a_sharding_process_keeps_half_of_the_weights_gradients_and_moments_and_saves_them_whole(
    story: RunConfig, tmp_path: Path, done_in_two_processes: Path
) -> None:
    folder = done_in_two_processes
    for name, (_, rel) in SHARDED.items():
        config = read_config(folder / f"{name}.json")
        assert not (folder / f"{name}-1" / "state.pt").exists(), "the first process writes"
        train(config, tmp_path / name)
        train(config, folder / f"{name}-0")
        alone, went_on = Run(tmp_path / name), Run(folder / f"{name}-0")
        assert "resumed at step 4" in went_on.log
        for column in ("train_loss", "val_loss", "weight_norm"):
            assert went_on.metrics[column] == pytest.approx(alone.metrics[column], rel=rel)


@pytest.mark.slow(1)
@pytest.mark.parametrize("shard", [False, True], ids=["each with all weights", "each with a part"])
def test_two_processes_with_dropout_go_on_to_the_same_end_and_agree_when_to_stop(
    shard: bool, done_in_two_processes: Path
) -> None:
    folder = done_in_two_processes / f"shard-{shard}"
    config = read_config(done_in_two_processes / "dropout.json")
    assert not (folder / "x").exists(), "both runs are in the archive"
    whole, parts = find("x", config, folder), Run(folder / "parts")
    assert "resumed at step 4" in parts.log
    for column in set(whole.metrics) - {"time_s"}:
        np.testing.assert_array_equal(parts.metrics[column], whole.metrics[column])
    assert Run(folder / "diverged").diverged_at == 6


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model.kind": "lstm"}, "model.kind = 'lstm': must be 'transformer' with --shard"),
        ({"optim.name": "sgd"}, "optim.name = 'sgd': must be 'adam' or 'adamw' or 'muon' with --shard"),
        ({"train.precision": "float16"}, "train.precision = 'float16': must be 'float32' or 'bfloat16' with --shard"),
    ],
)
def test_what_cannot_be_sharded_is_one_line_before_anything_begins(
    story: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], words: str
) -> None:
    for call in (partial(train_all, {"x": [story]}, root=tmp_path), partial(train, story, tmp_path / "x")):
        with pytest.raises(UserError, match="--shard: needs several processes: torchrun"):
            call(shard=True)
    monkeypatch.setattr("lib.training.distributed.size", lambda: 2)
    with pytest.raises(UserError) as error:
        train_all({"x": [story, story.override(changes)]}, root=tmp_path, shard=True)
    assert str(error.value) == words
    assert not (tmp_path / "x").exists()
