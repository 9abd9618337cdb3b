"""One run trained by two real processes, connected by gloo."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Stop, stop_at, weights

from lib.config import RunConfig
from lib.runs.run import Run
from lib.runs.stored import find, train_all
from lib.support.errors import UserError
from lib.support.files import write_json
from lib.training.trainer import train


@pytest.fixture
def two_processes(story: RunConfig, tmp_path: Path) -> Callable[..., None]:
    """Runs `python ARGS…` in two processes with gloo, on a copy of the library, whose cache is then the copy's."""
    shutil.copytree(ROOT / "lib", tmp_path / "lib", ignore=shutil.ignore_patterns("__pycache__"))

    def call(*args: object) -> None:
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
        env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(tmp_path)}
        argv = [*launch, *map(str, args)]
        done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr

    return call


ADAMW = {"optim.name": "adamw", "optim.lr": 1e-3, "data.vocab_size": 301}  # an odd number of rows to share


@pytest.mark.parametrize(
    ("changes", "ways"),
    [
        ({"optim.name": "momentum", "optim.lr": 0.1}, []),
        (ADAMW, ["--shard"]),
        (ADAMW | {"model.tied": False, "train.activation_checkpointing": True}, ["--shard"]),
    ],
    ids=["each with all weights", "each with a part", "each with a part, and computing blocks twice"],
)
def test_two_processes_train_what_one_trains_and_go_on_where_one_stopped(
    changes: dict[str, object], ways: list[str], story: RunConfig, tmp_path: Path, two_processes: Callable[..., None]
) -> None:
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
    two_processes("-m", "lib.train", "add_sub_adam", "--checkpoints", place.parent, *options, *ways)
    assert sorted(place.iterdir()) == sorted([fresh, begun, stored])
    assert "resumed at step 4" in Run(begun).log and "resumed" not in Run(fresh).log
    assert f"2 processes, each with {'a shard' if ways else 'all'} of the weights" in Run(fresh).log
    for folder in (fresh, begun, stored):
        alone = tmp_path / "alone" / folder.name
        assert {path.name for path in folder.iterdir()} == {path.name for path in alone.iterdir()}
        one, two = Run(alone), Run(folder)
        assert two.samples.keys() == one.samples.keys() and two.summary.keys() == one.summary.keys()
        for column in set(one.metrics) - {"time_s"}:
            assert two.metrics[column] == pytest.approx(one.metrics[column], rel=1e-6, nan_ok=True), column
    assert weights(stored) == weights(tmp_path / "alone" / stored.name)


SHARDED = """
from pathlib import Path
from lib.language.networks import n_params
from lib.training import distributed
from lib.training.datasets import load_data
from lib.training.folder import read_config
from lib.training.trainer import Trainer

def share(tensors):
    return sum(x.to_local().numel() for x in tensors) / n_params(trainer.model)

with distributed.group("cpu"):
    config = read_config(Path("config.json"))
    for precision in ("bfloat16", "float32"):
        folder = Path(f"{precision}-{distributed.rank()}")
        folder.mkdir()
        changed = config.override({"train.precision": precision})
        trainer = Trainer(changed, load_data(changed), folder, shard=True)
        seen = []
        trainer.model.blocks[0].feed_forward.up.register_forward_pre_hook(lambda up, _: seen.append(up.weight.dtype))
        trainer.loop.evaluate()
        for _ in range(4):
            trainer.loop.take_step()
        trainer.loop.evaluate()
        assert {str(dtype) for dtype in seen} == {f"torch.{precision}"}
        weights = list(trainer.model.parameters())
        [adamw] = trainer.optimizer.parts
        moments = [[adamw.state[w][name] for w in weights] for name in ("exp_avg", "exp_avg_sq")]
        for kept in (weights, [w.grad for w in weights], *moments):
            assert 0.4 < share(kept) < 0.6
"""


def test_a_sharding_process_keeps_half_of_the_weights_gradients_and_moments_and_saves_them_whole(
    story: RunConfig, tmp_path: Path, two_processes: Callable[..., None]
) -> None:
    config = story.override(ADAMW | {"train.prompt": "the cat"})
    write_json(tmp_path / "config.json", config.to_dict())
    (tmp_path / "sharded.py").write_text(SHARDED)
    two_processes("sharded.py")
    assert not (tmp_path / "float32-1" / "state.pt").exists(), "the first process writes"
    train(config, tmp_path / "float32-0")
    train(config, tmp_path / "alone")
    train(config.override({"train.precision": "bfloat16"}), tmp_path / "bfloat16-0")
    went_on, alone, rounded = (Run(tmp_path / name) for name in ("float32-0", "alone", "bfloat16-0"))
    assert "resumed at step 4" in went_on.log and "resumed at step 4" in rounded.log
    for column in ("train_loss", "val_loss", "weight_norm"):
        assert went_on.metrics[column] == pytest.approx(alone.metrics[column], rel=1e-6)
        assert rounded.metrics[column] == pytest.approx(alone.metrics[column], rel=1e-2)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model.kind": "lstm"}, "model.kind = 'lstm': must be 'transformer' with --shard"),
        ({"optim.name": "muon"}, "optim.name = 'muon': must be 'adam' or 'adamw' with --shard"),
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


TOGETHER = """
from pathlib import Path
from lib.runs import stored
from lib.training import distributed
from lib.training.distributed import SharedLoop
from lib.training.folder import read_config
from lib.training.trainer import train

def stop(row):
    if row["step"] == 4:
        raise KeyError

def overflow_in_the_second(loop):
    take_step(loop)
    if distributed.rank() == 1 and loop.step == 6:
        loop.losses[-1] = loop.losses[-1] + float("inf")

with distributed.group("cpu"):
    config = read_config(Path("config.json"))
    configs = [config, config.override({"seed": 1})]
    stored.SWEEP = 1
    stored.train_all({"x": configs}, root=Path(), shard=SHARD)
    print([stored.stored("x", config, Path()).path for config in configs])
    try:
        train(config, Path("parts"), show=stop, shard=SHARD)
    except KeyError:
        distributed.barrier()
    train(config, Path("parts"), shard=SHARD)
    take_step, SharedLoop.take_step = SharedLoop.take_step, overflow_in_the_second
    train(config, Path("diverged"), shard=SHARD)
"""


@pytest.mark.parametrize("shard", [False, True], ids=["each with all weights", "each with a part"])
def test_two_processes_with_dropout_go_on_to_the_same_end_and_agree_when_to_stop(
    shard: bool, story: RunConfig, tmp_path: Path, two_processes: Callable[..., None]
) -> None:
    config = story.override({"model.dropout": 0.2})
    write_json(tmp_path / "config.json", config.to_dict())
    (tmp_path / "together.py").write_text(TOGETHER.replace("SHARD", str(shard)))
    two_processes("together.py")
    assert not (tmp_path / "x").exists()
    whole, parts = find("x", config, tmp_path), Run(tmp_path / "parts")
    assert "resumed at step 4" in parts.log
    for column in set(whole.metrics) - {"time_s"}:
        np.testing.assert_array_equal(parts.metrics[column], whole.metrics[column])
    assert Run(tmp_path / "diverged").diverged_at == 6
