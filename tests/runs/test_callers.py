"""Runs asked for by a script of one's own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, TINY

from lib.config import RunConfig
from lib.language.tokenizers import BytePairTokenizer
from lib.runs.run import Run
from lib.support.errors import UserError
from lib.training.trainer import train
from lib.training.weights import load_weights

SCRIPT = """
import sys
sys.path.insert(0, {root!r})
print("the script runs")
from lib.experiments.arithmetic import memorize
from lib.runs.stored import run_all
[run] = run_all("mine", (config.override({{"train.max_steps": 10}}) for config in memorize()), root={place!r})
print(run.summary["steps"])
"""


def test_a_script_needs_no_main_guard_nor_a_short_temporary_folder(tmp_path: Path) -> None:
    """It may give a generator of configs and a text for a path, too. A socket's path, in TMPDIR, has a length limit."""
    script, long = tmp_path / "script.py", tmp_path / ("x" * 100)
    script.write_text(SCRIPT.format(root=str(ROOT), place=str(tmp_path / "runs")))
    long.mkdir()
    env = os.environ | {"TMPDIR": str(long)}
    call = subprocess.run([sys.executable, str(script)], env=env, capture_output=True, text=True, check=False)
    assert call.stdout == "the script runs\n10\n", call.stderr
    [folder] = (tmp_path / "runs" / "mine").iterdir()
    assert Run(str(folder)).summary["steps"] == 10


def test_a_config_is_checked_section_by_section() -> None:
    with pytest.raises(UserError, match=r"data = \{'p': 5\}: must be a DataConfig"):
        RunConfig(data={"p": 5})  # type: ignore[arg-type]
    assert RunConfig(seed="7").seed == 7  # type: ignore[arg-type]
    assert TINY.override({"seed": "7"}) == TINY.override({"seed": 7})


def test_a_path_may_be_a_text(tmp_path: Path) -> None:
    train(TINY.override({"train.max_steps": 1}), str(tmp_path / "run"))
    assert Run(str(tmp_path / "run")).summary["steps"] == 1
    assert load_weights(str(tmp_path / "run"))[2].train.max_steps == 1
    learned = BytePairTokenizer.of([bytes([byte]) for byte in range(256)])
    learned.save(str(tmp_path))
    assert BytePairTokenizer.load(str(tmp_path)) == learned
