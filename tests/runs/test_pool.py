"""Workers: killed, failed, in order."""

import itertools
import multiprocessing
import os
import re
import signal
import threading
import time
from pathlib import Path

import pytest
from conftest import LONGER, bare_metrics, n_rows, weights

from lib.config import RunConfig
from lib.runs.stored import find, run_all
from lib.support.errors import UserError


@pytest.mark.slow(4)
def test_a_killed_worker_is_started_again(tiny: RunConfig, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    for seed in itertools.count():  # until one is killed: a machine may be quick, or look elsewhere meanwhile
        config = tiny.override(LONGER | {"seed": seed})
        folder = tmp_path / "x" / config.id
        thread = threading.Thread(target=run_all, args=("x", [config]), kwargs={"root": tmp_path})
        thread.start()
        while n_rows(folder) < 5:
            time.sleep(0.005)
        for worker in multiprocessing.active_children():
            os.kill(worker.pid, signal.SIGKILL)
        thread.join()
        if "resumed" in (folder / "train.log").read_text():
            break
    assert "killed (exit code -9); the run resumes from its saved state" in capfd.readouterr().err
    run_all("whole", [config], root=tmp_path)
    whole = tmp_path / "whole" / config.id
    assert bare_metrics(folder) == bare_metrics(whole)
    assert weights(folder) == weights(whole)


def test_run_all_reports_failed_and_diverged_runs_after_the_others(tiny: RunConfig, tmp_path: Path) -> None:
    good = tiny.override({"train.max_steps": 10})
    bad = good.override({"optim.name": "sgd", "optim.lr": 1e30, "model.norm": "none"})
    with pytest.raises(UserError, match=rf"{bad.id}.*not finite"):
        run_all("x", [bad, good], workers=1, root=tmp_path)
    assert find("x", good, tmp_path) is not None
    assert find("x", bad, tmp_path).diverged_at is not None


def test_a_run_that_begins_again_says_so(tiny: RunConfig, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    folder = tmp_path / "x" / tiny.id
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text("step\n")
    run_all("x", [tiny], root=tmp_path)
    assert f"{tiny.id}: begins again at step 0, for state.pt is missing" in capfd.readouterr().err


def test_the_longest_run_begins_first(tiny: RunConfig, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    short, long = (tiny.override({"train.max_steps": steps}) for steps in (10, 40))
    run_all("x", [short, long], workers=1, root=tmp_path)
    lines = [line for line in capfd.readouterr().err.splitlines() if "done" in line]
    assert lines[0].startswith(long.id) and lines[2].startswith(short.id)
    assert re.fullmatch(r"\[1/2 done · 1 running · 0 waiting · about \d+:\d\d to go\]", lines[1])
