"""The committed notebooks."""

import ast
import re
from pathlib import Path

import nbformat
import pytest
from conftest import NOTEBOOKS

from lib.notebooks import normalise


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
        for form in ("image/png", "text/html"):  # base64 may hold any letters
            output.get("data", {}).pop(form, None)
    text = "".join(map(str, [cell.source for cell in notebook.cells] + [cell.get("outputs") for cell in cells]))
    assert not re.search(r"0x[0-9a-f]{8}|/tmp/|/home/|/Users/|PosixPath", text), "differs from machine to machine"
    assert notebook.cells[0].source.startswith(f"# {path.stem[:2]} · ")


ENDS = {"exit", "quit", "sys.exit", "os._exit", "os.abort", "SystemExit"}


def ends(source: str) -> set[str]:
    """What in a cell may end the kernel: papermill runs on after it, or stops there, and takes both for success."""
    names = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name | ast.Attribute))
    return ENDS.intersection(map(ast.unparse, names))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_cell_ends_its_kernel(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    assert {cell.source: ends(cell.source) for cell in cells if cell.cell_type == "code" and ends(cell.source)} == {}


def test_what_ends_a_kernel_is_seen() -> None:
    for source in ("exit()", "if x:\n    quit(0)", "import sys\nsys.exit(1)", "raise SystemExit", "os._exit(0)"):
        assert ends(source)
    assert not ends("with ExitStack() as stack:\n    stack.exit_code = 'exit'")
