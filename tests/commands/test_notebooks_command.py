"""`python -m lib.notebooks`."""

import json
from pathlib import Path

import nbformat
import pytest

from lib import notebooks
from lib.support.errors import UserError

BROKEN = {  # what a file holds -> why that is no notebook
    "<<<<<<< HEAD\n{}": "Expecting value: line 1 column 1",
    '{"nbformat": 4,\n "nbformat_minor": 5, "metadata": {}\n "cells": []}': "Expecting ',' delimiter: line 3 column 2",
    "": "Expecting value",
    "[]": "'list' object",
    "{}": "missing a key: cells",
    '{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": "code"}]}': "missing an expected key",
    '{"nbformat": 9, "nbformat_minor": 0, "metadata": {}, "cells": []}': "Unsupported nbformat version 9",
}


def write(path: Path, *cells: str) -> Path:
    nbformat.write(nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, cells))), path)
    return path


def test_notebooks_that_fail_are_named_and_stay_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "01_works.ipynb", "print(6 * 7)")
    write(tmp_path / "02_fails.ipynb", "1", "", "\n1 / 0", "print(3)")
    (tmp_path / "03_conflict.ipynb").write_text(next(iter(BROKEN)))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(notebooks, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(notebooks, "default_workers", lambda _: 2)
    monkeypatch.setattr("sys.argv", ["notebooks", "02", "03"])
    assert notebooks.main() == 1
    [error] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "02_fails.ipynb: cell 2, '1 / 0', failed with ZeroDivisionError: division by zero" in error
    assert "03_conflict.ipynb: not a whole notebook (Expecting value: line 1 column 1" in error
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    monkeypatch.setattr("sys.argv", ["notebooks", "01"])
    assert notebooks.main() == 0
    [cell] = nbformat.read(tmp_path / "01_works.ipynb", as_version=4).cells
    assert cell.outputs[0].text == "42\n" and cell.execution_count == 1


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (
            ["a = 1", "import os\nos.kill(os.getpid(), 9)", "print(3)"],
            ["cell 2, 'import os', lost its kernel (Kernel died), perhaps for want of memory", "lib.notebooks 04_ends"],
        ),
        (["import sys", "sys.exit(0)", "print(3)"], ["cell 2, 'sys.exit(0)', ended the notebook early"]),
    ],
)
def test_a_notebook_that_ends_early_is_told_by_its_cell(tmp_path: Path, cells: list[str], words: list[str]) -> None:
    path = write(tmp_path / "04_ends.ipynb", *cells)
    before = path.read_bytes()
    with pytest.raises(UserError) as error:
        notebooks.renew(path)
    assert str(error.value).startswith("04_ends.ipynb: ") and all(word in str(error.value) for word in words)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("argv", [["false"], ["/no/such/python"]])
def test_a_kernel_that_does_not_start_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: list[str]) -> None:
    kernel = tmp_path / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text(json.dumps({"argv": argv, "display_name": "broken"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"^01\.ipynb: its kernel did not start \(.*; install it anew: .* ipykernel$"):
        notebooks.execute(write(tmp_path / "01.ipynb", "1"))


@pytest.mark.parametrize("text", BROKEN)
def test_a_file_that_is_no_notebook_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "05.ipynb").write_text(text)
    with pytest.raises(UserError) as error:
        notebooks.execute(tmp_path / "05.ipynb")
    assert str(error.value).startswith("05.ipynb: not a whole notebook (") and BROKEN[text] in str(error.value)
    assert "\n" not in str(error.value)


def test_a_killed_process_is_told_with_the_notebooks_that_it_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "06_kills.ipynb", "import os\nos.kill(os.getppid(), 9)")
    monkeypatch.setattr(notebooks, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr("sys.argv", ["notebooks", "06"])
    before = path.read_bytes()
    assert notebooks.main() == 1 and path.read_bytes() == before
    assert "error: 06_kills.ipynb: not executed: a process was killed, perhaps for want" in capsys.readouterr().err
