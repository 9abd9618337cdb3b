"""The notebooks, each once in full in a copy of the project, against the figures and results that are committed.

Those with widgets run from their own folder, as Jupyter runs them, with the kernel and the widgets that Colab has; the
others from the root, as papermill does. The set-up cell, which is the same in all, is tried from both. Notebook 04 runs
once more with Colab's matplotlib and numpy, which draw other bytes. torch is this environment's. Whatever is trained
live is cut short; `make` runs it in full.
"""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import nbformat
import papermill
import pytest
from conftest import NOTEBOOKS, ROOT, MadeOnce, copy_of_project, pinned
from packaging.requirements import Requirement

# Colab, autumn 2026, but for torch 2.11, whose wheel for Linux brings gigabytes of CUDA
COLAB = {
    "ipykernel": "6.17.1",
    "ipython": "7.34.0",
    "ipywidgets": "7.7.1",
    "jupyter_client": "7.4.9",
    "nbformat": "5.11.1",
    "traitlets": "5.7.1",
}
NEEDED = {
    "backcall": "0.2.0",
    "decorator": "5.1.1",
    "entrypoints": "0.4",
    "ipython_genutils": "0.2.0",
    "pickleshare": "0.7.5",
}
COLAB_DRAWS = {"matplotlib": "3.10.0", "numpy": "2.1.3"}
WITH_WIDGETS = ("01_sanity_check", "04_grokking", "06_inside_the_network", "08_tinystories", "09_gpt2")
SECONDS = {"01": 20, "02": 6, "03": 12, "04": 23, "05": 26, "06": 40, "07": 16, "08": 8, "09": 33}  # the longest first
BY_LENGTH = [
    pytest.param(path, marks=pytest.mark.slow(SECONDS.get(path.stem[:2], 30)), id=path.stem) for path in NOTEBOOKS
]
pytestmark = pytest.mark.timeout(600)  # on a busy machine, and with a slow connection to the package index


def install(pins: dict[str, str], folder: Path) -> None:
    """These versions, and nothing else, into a folder. Where they cannot be had, this environment's serve."""
    names = [f"{name}=={version}" for name, version in pins.items()]
    argv = [sys.executable, "-m", "pip", "install", "--target", folder, "--no-deps", "--quiet", *names]
    call = subprocess.run([*argv, "--disable-pip-version-check"], capture_output=True, text=True, check=False)
    if call.returncode:
        warnings.warn(f"Colab's versions cannot be installed, so this environment's serve: {call.stderr}", stacklevel=1)


@pytest.fixture(scope="session")
def colab(made_once: MadeOnce) -> Path:
    """A folder where Jupyter finds two kernels: `colab` has Colab's kernel and widgets, `colab-draws` COLAB_DRAWS, too.

    Both see this environment's other packages.
    """

    def fill(home: Path) -> None:
        install(COLAB | NEEDED, home / "colab")
        install(COLAB_DRAWS, home / "draws")
        for name, places in (("colab", ["colab"]), ("colab-draws", ["colab", "draws"])):
            spec = {
                "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
                "display_name": name,
                "env": {"PYTHONPATH": os.pathsep.join(str(home / place) for place in places)},
            }
            (home / "kernels" / name).mkdir(parents=True)
            (home / "kernels" / name / "kernel.json").write_text(json.dumps(spec))

    return made_once("colab", fill)


def execute(notebook: Path, cwd: Path, kernel: str = "python3") -> None:
    live = {"live_steps": 20} if "live_steps" in notebook.read_text() else {}
    papermill.execute_notebook(notebook, None, live, kernel_name=kernel, cwd=cwd, progress_bar=False)


def made(project: Path) -> dict[str, bytes]:
    """What the notebooks make for the report, by name."""
    files = [*project.glob("figures/*.svg"), project / "report" / "results.json", *project.glob("report/splits/*")]
    return {str(path.relative_to(project)): path.read_bytes() for path in files}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, colab: Path) -> Path:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("JUPYTER_PATH", str(colab))
    return copy_of_project(tmp_path / "project")


@pytest.mark.parametrize("path", BY_LENGTH)
def test_a_notebook_makes_what_is_committed(path: Path, project: Path) -> None:
    notebook = project / "notebooks" / path.name
    if path.stem in WITH_WIDGETS:
        execute(notebook, notebook.parent, "colab")
    else:
        execute(notebook, project)
    if pinned():
        again, committed = made(project), made(ROOT)
        assert [name for name in again | committed if again.get(name) != committed.get(name)] == []


@pytest.mark.slow(23)
def test_a_notebook_runs_with_colabs_matplotlib_and_numpy(project: Path) -> None:
    execute(project / "notebooks" / "04_grokking.ipynb", project / "notebooks", "colab-draws")


def test_the_widgets_are_where_this_file_thinks() -> None:
    assert {path.stem for path in NOTEBOOKS if "lib.figures.widgets" in path.read_text()} == set(WITH_WIDGETS)


def test_requirements_are_content_with_colabs_versions() -> None:
    versions = {name.replace("_", "-"): version for name, version in (COLAB | COLAB_DRAWS).items()}
    lines = [line.partition("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    asked = [Requirement(line) for line in lines if line]
    assert {requirement.name for requirement in asked} >= {"ipykernel", "ipywidgets", "matplotlib", "nbformat", "numpy"}
    for requirement in asked:
        version = versions.get(requirement.name)
        assert version is None or requirement.specifier.contains(version), f"{requirement} would replace {version}"


@pytest.mark.parametrize("folder", [".", "notebooks", "notebooks/deeper"])
def test_the_set_up_cell_finds_the_project_from_any_folder_of_it(folder: str, tmp_path: Path) -> None:
    """From the root papermill starts, from the notebooks' folder Jupyter does; it is the same cell in all notebooks."""
    first = [
        next(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")
        for path in NOTEBOOKS
    ]
    assert len(set(first)) == 1
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "config.py").write_text("")
    cwd = tmp_path / folder
    cwd.mkdir(parents=True, exist_ok=True)
    told = f"{first[0]}\nimport lib.config\nprint(lib.config.__file__)"
    call = subprocess.run([sys.executable, "-c", told], cwd=cwd, capture_output=True, text=True, check=False)
    assert call.stdout == f"{tmp_path / 'lib' / 'config.py'}\n", call.stderr
