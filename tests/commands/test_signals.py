"""Every stop signal saves the state between two steps, whoever gets it and however often."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")]
CASES = {
    "SIGTERM to the group": ("group", [signal.SIGTERM]),
    "SIGHUP, then SIGTERM, to the group": ("group", [signal.SIGHUP, signal.SIGTERM]),
    "Ctrl-C twice to the parent": ("parent", [signal.SIGINT, signal.SIGINT]),
    "SIGTERM to the worker alone": ("worker", [signal.SIGTERM]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_stop_signal_saves_the_state_between_two_evaluations(case: str, tmp_path: Path) -> None:
    whom, signals = CASES[case]
    options = "--seed 0 --data.p 23 --train.max_steps 100000 --train.eval_every 50000 --train.eval_growth 1 --workers 1"
    argv = [sys.executable, "-m", "lib.train", "grokking_init", *options.split(), "--checkpoints", str(tmp_path)]
    process = subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not (states := list(tmp_path.glob("*/*/state.pt"))) and process.poll() is None:
        time.sleep(0.1)
    saved = states[0].stat().st_mtime_ns  # after the evaluation of step 0
    time.sleep(1)
    for kind in signals:
        if whom == "group":
            os.killpg(process.pid, kind)
        elif whom == "parent":
            os.kill(process.pid, kind)
        else:
            group = subprocess.run(["pgrep", "-g", str(process.pid)], capture_output=True, text=True, check=True)
            os.kill(max(map(int, group.stdout.split())), kind)  # the process that was begun last
        time.sleep(0.05)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1 and "Traceback" not in said, said
    assert "stopped at step" in said and "stopped at step" in (states[0].parent / "train.log").read_text()
    assert states[0].stat().st_mtime_ns > saved
