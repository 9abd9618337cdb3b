"""The real W&B, offline, and the real TensorBoard, on a run of a second."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT, bare_metrics

from lib.config import RunConfig
from lib.runs.archive import open_archive
from lib.runs.run import Run
from lib.runs.stored import find, run_all
from lib.support.errors import UserError
from lib.training import backends
from lib.training.folder import COLUMNS, read_metrics
from lib.training.trainer import Interrupted, train

BOTH = ("wandb", "tensorboard")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "wandb_settings"))


def scalars(folder: Path) -> dict[str, list]:
    """What TensorBoard shows of a run, by tag."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    return {tag: events.Scalars(tag) for tag in events.Tags()["scalars"]}


def offline_files(folder: Path) -> list[Path]:
    return sorted((folder / "wandb").glob("offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime_ns)


def history(path: Path) -> list[dict[str, float]]:
    """The rows of a .wandb file, as W&B would get them."""
    rows = [record.history.item for record in backends.records(path) if record.HasField("history")]
    decoded = [{"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in row} for row in rows]
    return [{key: value for key, value in row.items() if key not in ("_runtime", "_timestamp")} for row in decoded]


def written(folder: Path) -> list[dict[str, float]]:
    """The rows of metrics.csv without what was not measured, in the words of W&B."""
    rows = read_metrics(folder)
    return [{name.replace("step", "_step"): row[name] for name in COLUMNS if row[name] is not None} for row in rows]


def check_tensorboard(folder: Path) -> None:
    rows, shown = written(folder), scalars(folder)
    assert set(shown) == set(COLUMNS) - {"step"}
    for tag, events in shown.items():
        measured = [(row["_step"], row[tag]) for row in rows if tag in row]
        assert [event.step for event in events] == [step for step, _ in measured]
        assert [event.value for event in events] == pytest.approx([value for _, value in measured], rel=1e-6)
    seconds = [event.wall_time - shown["time_s"][0].wall_time for event in shown["time_s"]]
    assert seconds == pytest.approx([row["time_s"] for row in rows], abs=1e-4)


def services() -> list[str]:
    """Processes that W&B started for this one, or for one that is gone."""
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    owners = re.findall(r"wandb-core .*--pid (\d+)", listed)
    return [pid for pid in owners if pid == str(os.getpid()) or not Path(f"/proc/{pid}").exists()]


def test_both_show_what_metrics_csv_holds_and_change_nothing(
    tiny: RunConfig, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    config = tiny.override({"model.dropout": 0.1})  # a draw at every step
    train(config, tmp_path / "x" / "bare")
    folder = tmp_path / "x" / "shown"
    train(config, folder, backends=BOTH)
    assert capfd.readouterr() == ("", "")
    assert bare_metrics(folder) == bare_metrics(tmp_path / "x" / "bare")
    assert (folder / "model.safetensors").read_bytes() == (tmp_path / "x" / "bare" / "model.safetensors").read_bytes()
    bare, shown = ({path.name for path in (tmp_path / "x" / name).iterdir()} for name in ("bare", "shown"))
    assert shown - bare == set(backends.FOLDERS)
    assert not services()
    check_tensorboard(folder)
    [file] = offline_files(folder)
    assert history(file) == written(folder)
    cut, whole = tmp_path / "cut.wandb", file.read_bytes()
    for size in range(0, len(whole), 101):
        cut.write_bytes(whole[:size])
        assert history(cut) == written(folder)[: len(history(cut))], "the rows that are whole"
    kept = {record.WhichOneof("record_type"): record for record in backends.records(file)}
    assert (kept["run"].run.project, kept["run"].run.run_id, kept["run"].run.run_group) == ("grokking", config.id, "x")
    settings = {item.key: json.loads(item.value_json) for item in kept["run"].run.config.update}
    assert settings.items() >= config.flat().items()
    assert kept["exit"].exit.exit_code == 0
    axes = [record.metric.name for record in backends.records(file) if record.HasField("metric")]
    assert axes == ["time_s", "tokens"]
    updates = [record.summary.update for record in backends.records(file)]  # none in other records
    summary = {item.key: json.loads(item.value_json) for update in updates for item in update}
    assert summary.items() >= json.loads((folder / "summary.json").read_text()).items()


KILLED = """
import os, signal
from pathlib import Path
from lib.training.folder import read_config
from lib.training.trainer import train
def kill(row):
    if row["step"] == 40:
        os.kill(os.getpid(), signal.SIGKILL)
train(read_config(Path("config.json")), Path(), show=kill, backends=("wandb", "tensorboard"))
"""


def test_a_run_that_is_stopped_and_killed_logs_each_step_once(tiny: RunConfig, tmp_path: Path) -> None:
    def stop(row: dict[str, float]) -> None:
        if row["step"] == 20:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        train(tiny, tmp_path, show=stop, backends=BOTH)
    assert not services()
    [first] = offline_files(tmp_path)
    [exit] = [record.exit.exit_code for record in backends.records(first) if record.HasField("exit")]
    assert exit == 1  # not finished
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    killed = subprocess.run([sys.executable, "-c", KILLED], cwd=tmp_path, env=environment, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert read_metrics(tmp_path)[-1]["step"] == 40
    train(tiny, tmp_path, backends=BOTH)
    check_tensorboard(tmp_path)
    first, second, third = (history(file) for file in offline_files(tmp_path))
    assert first + second + third == written(tmp_path), "whatever W&B had written of the second"
    assert [row["_step"] for row in first] == [0, 10, 20]
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1


def test_a_run_begun_without_or_begun_again_is_shown_from_its_beginning(tiny: RunConfig, tmp_path: Path) -> None:
    def stop(row: dict[str, float]) -> None:
        if row["step"] == 20:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        train(tiny, tmp_path, show=stop)
    for _ in ("the rest", "begun again"):
        train(tiny, tmp_path, backends=BOTH)
        check_tensorboard(tmp_path)
        [file] = offline_files(tmp_path)
        assert history(file) == written(tmp_path)


class Broken(backends.TensorBoard):
    """Fails where it is told to."""

    where = ""

    def fail(self, place: str) -> None:
        if place == self.where:
            raise SystemExit("no space left\non the device") if place == "close" else OSError("no space left\non it")

    def __init__(self, *args: object) -> None:
        self.fail("begin")
        super().__init__(*args)

    def log(self, step: int, values: dict[str, float]) -> None:
        self.fail(f"log {step}")
        super().log(step, values)

    def finish(self, summary: dict[str, object]) -> None:
        self.fail("finish")
        super().finish(summary)

    def close(self) -> None:
        super().close()
        self.fail("close")


@pytest.mark.parametrize("where", ["begin", "log 20", "finish", "close"])
def test_a_back_end_that_fails_is_noted_once_and_left(
    tiny: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setitem(backends.KNOWN, "tensorboard", Broken)
    monkeypatch.setattr(Broken, "where", where)
    train(tiny, tmp_path, backends=["tensorboard"])
    log = Run(tmp_path).log
    assert log.count("tensorboard failed, the run goes on without it: ") == log.count("no space left") == 1
    assert Run(tmp_path).metrics["step"][-1] == 60 and len(log.splitlines()) == 9


def test_what_is_wrong_is_one_line_before_anything_begins(
    tiny: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for start in (lambda names: train(tiny, tmp_path / "run", backends=names), train_all_in(tiny, tmp_path)):
        with pytest.raises(
            UserError, match=r"tracker = 'wand': must be one of wandb, tensorboard; did you mean wandb\?"
        ):
            start(["wand"])
        for name in BOTH:
            with monkeypatch.context() as patch, pytest.raises(UserError, match=f"install it with: pip install {name}"):
                patch.setitem(sys.modules, name, None)
                start([name])
    assert not any(tmp_path.iterdir())


def train_all_in(config: RunConfig, root: Path):
    return lambda names: run_all("x", [config], root=root, backends=names)


def test_a_folder_named_like_the_package_is_not_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """W&B makes one where it is called from, and Python could import that."""
    (tmp_path / "wandb").mkdir()
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(UserError, match="needs the package wandb"):
        backends.check_backends(["wandb"])


def test_a_process_of_its_own_leaves_none_behind_even_if_it_diverges(
    tiny: RunConfig, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    bad = tiny.override({"optim.name": "sgd", "optim.lr": 1e30, "model.norm": "none"})
    with pytest.raises(UserError, match=rf"run {bad.id}: the loss of step \d+ is not finite"):
        run_all("x", [bad], root=tmp_path, backends=["wandb"])
    assert "wandb" not in capfd.readouterr().err
    [file] = offline_files(tmp_path / "x" / bad.id)
    [exit] = [record.exit.exit_code for record in backends.records(file) if record.HasField("exit")]
    assert exit == 0 and "failed" not in find("x", bad, tmp_path).log
    assert not services()


def test_what_back_ends_wrote_stays_beside_a_sweeps_archive(
    tiny: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny.override({"train.max_steps": 10})
    monkeypatch.setattr("lib.runs.stored.SWEEP", 0)
    monkeypatch.setattr("lib.runs.stored.CHECKPOINTS", tmp_path)  # only there archives are made
    for fresh in (False, True):
        run_all("x", [config], root=tmp_path, backends=["tensorboard"], fresh=fresh)
        assert not any("tensorboard" in name for name in open_archive(tmp_path / "x.zip").root.namelist())
        assert [path.name for path in (tmp_path / "x" / config.id).iterdir()] == ["tensorboard"]
        assert len(list((tmp_path / "x" / config.id / "tensorboard").iterdir())) == 1
        assert find("x", config, tmp_path).path.parent.name == "x.zip"


def test_the_random_state_is_left_alone(tiny: RunConfig, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    tracker = backends.Backends(BOTH, tmp_path, tiny, print)
    with tracker.opened([]):
        tracker.log({"step": 0.0, "time_s": 0.0, "train_loss": 1.0, "val_loss": None})
        tracker.finish({"t_grok": None})
    assert torch.equal(torch.get_rng_state(), before) and not services()


@pytest.mark.parametrize("name", backends.FOLDERS)
def test_what_back_ends_write_is_not_tracked(name: str) -> None:
    call = ["git", "check-ignore", "--quiet", f"checkpoints/x/y/{name}/z"]
    assert subprocess.run(call, cwd=ROOT, check=False).returncode == 0
