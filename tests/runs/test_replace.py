"""A run that is trained again is not lost before the new one has saved something."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, weights

from lib.config import RunConfig
from lib.runs.replace import set_aside, settle
from lib.runs.stored import find, run_all

FILES = {"config.json": "c", "metrics.csv": "m", "model.safetensors": "w", "summary.json": "s", "snapshots/5": "5"}


class Cut(Exception):
    """The process ends here."""


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder that is a link."""
    (tmp_path / "there" / "snapshots").mkdir(parents=True)
    (tmp_path / "run").symlink_to(tmp_path / "there")
    for name, text in FILES.items():
        (tmp_path / "run" / name).write_text(text)
    return tmp_path / "run"


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("last", range(14))
def test_the_old_run_comes_back_whenever_it_is_cut_off(
    last: int, begun: bool, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, calls = Path.rename, []

    def cut(path: Path, target: Path) -> Path:
        calls.append(path)
        if len(calls) == last:
            raise Cut
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", cut)
    for attempt in (set_aside, settle, settle):
        try:
            attempt(run)
        except Cut:
            continue
        if begun and attempt is set_aside:
            (run / "config.json").write_text("new")
    settle(run)
    assert contents(run) == FILES and run.is_symlink()


@pytest.mark.parametrize("saved", ["state.pt", "summary.json"])
def test_the_old_run_goes_once_the_new_one_has_saved_something(saved: str, run: Path) -> None:
    set_aside(run)
    (run / saved).write_text("new")
    settle(run)
    assert contents(run) == {saved: "new"} and run.is_symlink()


@pytest.mark.slow
def test_a_stored_run_outlives_a_fresh_one_that_is_killed_at_once(tiny: RunConfig, tmp_path: Path) -> None:
    [run] = run_all("grokking_init", [tiny], root=tmp_path)
    before = weights(run.path)
    script = tmp_path / "again.py"
    script.write_text(
        f"""import sys; sys.path.insert(0, {str(ROOT)!r})
from lib.config import RunConfig
from lib.runs.run import Run
from lib.runs.stored import run_all
run_all("grokking_init", [Run({str(run.path)!r}).config], root={str(tmp_path)!r}, fresh=True)
"""
    )
    process = subprocess.Popen([sys.executable, script], stderr=subprocess.DEVNULL, start_new_session=True)
    while not (run.path / "replaced").exists() and process.poll() is None:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    [again] = run_all("grokking_init", [tiny], root=tmp_path)
    assert weights(again.path) == before and find("grokking_init", tiny, tmp_path) is not None
    assert not (run.path / "replaced").exists()
