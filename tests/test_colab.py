"""The notebooks under Colab's versions of what decides whether they run there; torch is this environment's."""

import os
import site
import subprocess
import venv
from pathlib import Path

import pytest
from conftest import ROOT, copy_of_project

# Colab, autumn 2026, but for torch 2.11, whose wheel for Linux brings gigabytes of CUDA
PINS = [
    "ipykernel==6.17.1",
    "ipython==7.34.0",
    "ipywidgets==7.7.1",
    "jupyter_client==7.4.9",
    "matplotlib==3.10.0",
    "nbformat==5.11.1",
    "numpy==2.1.3",
    "traitlets==5.7.1",
]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
pytestmark = pytest.mark.xdist_group("colab")


@pytest.fixture(scope="module")
def colab(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A Python with the pins in front of this environment's packages, and a copy of the project."""
    home = tmp_path_factory.mktemp("colab")
    venv.create(home / "venv", with_pip=True)
    python = home / "venv" / "bin" / "python"
    [packages] = (home / "venv" / "lib").glob("python*/site-packages")
    (packages / "behind.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    pins = home / "pins.txt"
    pins.write_text("\n".join(PINS) + "\n")

    def pip(*args: str) -> subprocess.CompletedProcess[str]:
        argv = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *args]
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    call = pip("--ignore-installed", "--requirement", str(pins))
    if call.returncode:
        pytest.skip(f"Colab's versions cannot be installed here: {call.stderr.strip().splitlines()[-1]}")
    before = set(packages.iterdir())
    call = pip("--requirement", str(ROOT / "requirements.txt"))  # what the set-up cell does
    assert call.returncode == 0, call.stderr
    assert set(packages.iterdir()) == before, "requirements.txt must be content with Colab's versions"
    return python, copy_of_project(home / "project")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_under_colabs_versions(path: Path, colab: tuple[Path, Path]) -> None:
    python, project = colab
    live = ["-p", "live_steps", "20"] if "live_steps" in path.read_text() else []
    argv = [python, "-m", "papermill", path.name, project.parent / path.name, "-k", "python3", *live]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    call = subprocess.run(argv, cwd=project / "notebooks", env=env, capture_output=True, text=True, check=False)
    assert call.returncode == 0, call.stderr[-3000:]
