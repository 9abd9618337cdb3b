"""Runs asked for by a script of one's own."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, TINY

from lib.config import RunConfig
from lib.runs.pool import empty
from lib.runs.run import Run
from lib.support.errors import UserError

SCRIPT = """
import sys
sys.path.insert(0, {root!r})
print("the script runs")
from lib.experiments.arithmetic import memorize
from lib.runs.stored import run_all
[run] = run_all("mine", (config.override({{"train.max_steps": 10}}) for config in memorize()), root={place!r})
print(run.summary["steps"])
"""


def test_a_script_needs_no_main_guard_and_may_give_a_generator_and_a_text_for_a_path(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(root=str(ROOT), place=str(tmp_path / "runs")))
    call = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert call.stdout == "the script runs\n10\n", call.stderr
    [folder] = (tmp_path / "runs" / "mine").iterdir()
    assert Run(str(folder)).summary["steps"] == 10


def test_a_long_temporary_folder_is_no_hindrance(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    argv = ["-m", "lib.train", "memorize", "--train.max_steps", "5", "--checkpoints", str(tmp_path / "runs")]
    call = subprocess.run(
        [sys.executable, *argv], cwd=ROOT, env={**__import__("os").environ, "TMPDIR": str(long)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert call.returncode == 0, call.stderr


def test_a_run_folder_that_is_a_link_is_emptied_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "there" / "weights").mkdir(parents=True)
    (tmp_path / "there" / "metrics.csv").write_text("step\n")
    (tmp_path / "run").symlink_to(tmp_path / "there")
    empty(tmp_path / "run")
    assert (tmp_path / "run").is_symlink() and not list((tmp_path / "there").iterdir())


def test_a_config_is_checked_section_by_section() -> None:
    with pytest.raises(UserError, match=r"data = \{'p': 5\}: must be a DataConfig"):
        RunConfig(data={"p": 5})  # type: ignore[arg-type]
    assert RunConfig(seed="7").seed == 7  # type: ignore[arg-type]
    assert TINY.override({"seed": "7"}) == TINY.override({"seed": 7})
