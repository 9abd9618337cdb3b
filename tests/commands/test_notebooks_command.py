"""`python -m lib.notebooks`."""

from pathlib import Path

import nbformat
import pytest

from lib import notebooks


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
