"""What a fresh clone must hold, and what must not be in it."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from conftest import NOTEBOOKS, ROOT

from lib import notebooks
from lib.cli import EXPERIMENTS
from lib.notebooks import normalise


def tracked(*patterns: str) -> list[Path]:
    call = subprocess.run(["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in call.stdout.split("\0") if name]


def test_the_library_is_tracked() -> None:
    assert {path.name for path in tracked("lib")} >= {"config.py", "model.py", "train.py", "inference.py"}


def test_the_library_can_do_without_git() -> None:
    told = "import lib.train, lib.machine; print(lib.machine.COMMIT, lib.machine.CHANGED)"
    env = os.environ | {"PATH": ""}
    call = subprocess.run([sys.executable, "-c", told], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert call.stdout == "None None\n", call.stderr


def test_no_training_state_is_tracked() -> None:
    assert not [path for path in tracked() if path.name == "state.pt" or path.suffix in (".tmp", ".pt", ".pkl")]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_hygiene(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert notebook.metadata.kernelspec.name == "python3"
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), "executed once, in order"
    assert not any(out.output_type == "error" for cell in cells for out in cell.outputs)
    assert normalise(nbformat.read(path, as_version=4)) == notebook, "execute it with python -m lib.notebooks"
    [parameters] = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    for statement in ast.parse(parameters.source).body:
        assert isinstance(statement, ast.AnnAssign), "a parameter needs a type"
        ast.literal_eval(statement.value)
    assert all(len(cell.source.splitlines()) <= 12 for cell in cells), "logic belongs in lib/"
    assert all(len(line) <= 104 for cell in cells for line in cell.source.splitlines()), "runs off the page"
    for output in (output for cell in cells for output in cell.outputs):
        shown = output.get("data", {})
        assert "image/png" in shown or not shown.get("text/plain", "").startswith("<Figure"), "a figure not drawn"
        output.get("data", {}).pop("image/png", None)  # base64 may hold any letters
    text = "".join(map(str, [cell.source for cell in notebook.cells] + [cell.get("outputs") for cell in cells]))
    assert not re.search(r"0x[0-9a-f]{8}|/tmp/|/home/|/Users/|PosixPath", text), "differs from machine to machine"
    assert notebook.cells[0].source.startswith(f"# {path.stem[:2]} · ")


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
        assert line.startswith("#") or re.fullmatch(r"[a-z-]+>=[\d.]+ +# .+", line), line


def test_each_row_of_the_results_names_an_experiment() -> None:
    rows = re.findall(r"\| `(\w+) --", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(rows) > 15 and set(rows) <= set(EXPERIMENTS)


def test_a_notebook_that_fails_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, source in (("01_works", "print(6 * 7)"), ("02_fails", "1 / 0")):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
        nbformat.write(notebook, tmp_path / f"{name}.ipynb")
    before = (tmp_path / "02_fails.ipynb").read_bytes()
    monkeypatch.setattr(notebooks, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr("sys.argv", ["notebooks"])
    assert notebooks.main() == 1
    [error] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert error.startswith("error: 02_fails.ipynb: cell 1 failed with ZeroDivisionError")
    assert (tmp_path / "02_fails.ipynb").read_bytes() == before
    assert not list(tmp_path.glob("*.tmp"))
    monkeypatch.setattr("sys.argv", ["notebooks", "01"])
    assert notebooks.main() == 0
    [cell] = nbformat.read(tmp_path / "01_works.ipynb", as_version=4).cells
    assert cell.outputs[0].text == "42\n" and cell.execution_count == 1
