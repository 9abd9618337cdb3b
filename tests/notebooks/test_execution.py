"""The notebooks from their own folder, as Jupyter runs them, under Colab's versions of what decides there.

torch is this environment's. Where Colab's versions cannot be installed, the environment's own packages serve. Whatever
is trained live is cut short, as in test_notebooks; `make` runs it in full.
"""

import hashlib
import site
import subprocess
import sys
import venv
import warnings
from pathlib import Path

import pytest
from conftest import NOTEBOOKS, ROOT, copy_of_project, execute, pinned

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
pytestmark = pytest.mark.xdist_group("colab")


@pytest.fixture(scope="module")
def python_and_project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A Python with the pins in front of this environment's packages, if they can be had, and a copy of the project."""
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
        warnings.warn(f"Colab's versions cannot be installed, so this environment's serve: {call.stderr}", stacklevel=1)
        return Path(sys.executable), copy_of_project(home / "project")
    before = set(packages.iterdir())
    call = pip("--requirement", str(ROOT / "requirements.txt"))  # what the set-up cell does
    assert call.returncode == 0, call.stderr
    assert set(packages.iterdir()) == before, "requirements.txt must be content with Colab's versions"
    return python, copy_of_project(home / "project")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_its_own_folder(path: Path, python_and_project: tuple[Path, Path]) -> None:
    python, project = python_and_project
    execute(project / "notebooks" / path.name, project.parent / path.name, cwd=project / "notebooks", python=python)


def hashes() -> dict[str, str]:
    files = [*(ROOT / "figures").glob("*.svg"), ROOT / "report" / "results.json", *(ROOT / "report/splits").iterdir()]
    return {str(path.relative_to(ROOT)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_papermill_from_the_root_redraws_the_same_figures(path: Path, tmp_path: Path) -> None:
    before = hashes()
    execute(path, tmp_path / path.name, cwd=ROOT)
    if pinned():
        assert hashes() == before
