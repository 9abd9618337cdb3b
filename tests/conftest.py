"""Small configs that train in a second, and the command line as a user calls it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lib.config import DataConfig, ModelConfig, OptimConfig, RunConfig, TrainConfig

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
DATA = Path(os.environ["DATA_DIR"]) if os.environ.get("DATA_DIR") else None  # corpora, vocabularies
torch.set_num_threads(1)

TINY = RunConfig(
    data=DataConfig(p=11),
    model=ModelConfig(n_layers=2, n_heads=2, d_model=16, d_ff=32, context_length=8),
    optim=OptimConfig(lr=1e-2),
    train=TrainConfig(batch_size=16, max_steps=60, eval_every=10, eval_growth=1),
)


@pytest.fixture
def tiny() -> RunConfig:
    return TINY


@pytest.fixture
def command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Calls `python -m MODULE ARGS…` from the repository's root."""

    def call(module: str, *args: object, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", module, *map(str, args)]
        env = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=timeout, check=False)

    return call


def execute(notebook: Path, output: Path, cwd: Path, python: str | Path = sys.executable) -> None:
    """Runs a notebook through papermill, whatever it trains live cut to some steps."""
    live = ["-p", "live_steps", "20"] if "live_steps" in notebook.read_text() else []
    argv = [python, "-m", "papermill", notebook, output, "-k", "python3", *live]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    call = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert call.returncode == 0, call.stderr[-3000:]


def copy_of_project(folder: Path) -> Path:
    """The project for running notebooks elsewhere, where they may write what they like; the stored runs are linked."""
    for name in ("lib", "notebooks", "report", "figures"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.tmp"))
    (folder / "checkpoints").symlink_to(ROOT / "checkpoints")
    return folder


def bare_metrics(folder: Path) -> list[list[str]]:
    """The cells of metrics.csv without the column time_s, the only one that may differ between equal runs."""
    rows = [line.split(",") for line in (folder / "metrics.csv").read_text().splitlines()]
    time_s = rows[0].index("time_s")
    return [row[:time_s] + row[time_s + 1 :] for row in rows]
