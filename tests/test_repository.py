"""What a fresh clone must hold, and what must not be in it."""

import re
import subprocess
from pathlib import Path

import nbformat
import pytest
from conftest import NOTEBOOKS, ROOT

from lib.experiments.catalogue import EXPERIMENTS

COMMANDS = ("train", "inference", "export", "report", "notebooks")


def tracked(*patterns: str) -> list[Path]:
    call = subprocess.run(["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in call.stdout.split("\0") if name]


def test_the_library_is_tracked() -> None:
    assert {path.name for path in tracked("lib")} >= {"config.py", "model.py", "train.py", "inference.py"}


def test_no_training_state_is_tracked() -> None:
    assert not [path for path in tracked() if path.name == "state.pt" or path.suffix in (".tmp", ".pt", ".pkl")]


@pytest.mark.parametrize("path", [*NOTEBOOKS, ROOT / "README.md"], ids=lambda path: path.stem)
def test_links_resolve(path: Path) -> None:
    if path.suffix == ".ipynb":
        cells = nbformat.read(path, as_version=4).cells
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    else:
        text = path.read_text(encoding="utf-8")
    for place in re.findall(r"checkpoints/\w+/\w+", text):
        assert (ROOT / place / "model.safetensors").exists(), place
    for link in re.findall(r"\]\(([^)#\s]+)", text):
        assert link.startswith("https://") or (path.parent / link).exists(), link


def test_requirements_are_lower_bounds_with_reasons() -> None:
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"[a-z0-9-]+>=[\d.]+ +# .+", line), line


def test_each_row_of_the_results_names_an_experiment() -> None:
    rows = re.findall(r"\| `(\w+) --", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(rows) > 15 and set(rows) <= set(EXPERIMENTS)


FIRST_READING = [path for path in sorted((ROOT / "lib").glob("*.py")) if path.stem not in COMMANDS]


def n_lines(*paths: Path) -> int:
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)


def test_the_first_reading_stays_an_hour_long() -> None:
    assert n_lines(*FIRST_READING) <= 1250
    assert not [path.name for path in FIRST_READING if n_lines(path) > 260]
    assert n_lines(ROOT / "lib" / "loop.py") <= 120


def test_the_library_stays_within_its_size() -> None:
    """A room grows by what is asked of it, and says by how much."""
    rooms = {"when the rooms were made": 7264, "faults": 870, "out and in": 432, "rules and splits": 465, "speed": 170}
    rooms |= {"methods and tournament": 775, "report": 170, "stacked networks": 480}
    rooms |= {"course: the tasks": 1389, "how surely, and where else": 110}
    rooms |= {"words and pages": 345}
    rooms |= {"sweeps on Slurm": 587, "what a GPU measured": 45}
    assert n_lines(*(ROOT / "lib").rglob("*.py")) <= sum(rooms.values())
