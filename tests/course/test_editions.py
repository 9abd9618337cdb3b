"""The tasks in the notebooks: stubs in the student's edition, which is committed, and solutions in the teacher's."""

import json
from pathlib import Path

import nbformat
import pytest
from conftest import NOTEBOOKS

from lib import notebooks
from lib.course import editions
from lib.course.task import of_notebook

EACH = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def tasks_of(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The cells in which a notebook's tasks stand."""
    first = next(i for i, cell in enumerate(notebook.cells) if cell.source.startswith(editions.HEADING))
    return notebook.cells[first:-1]


@EACH
def test_a_notebook_has_the_tasks_of_its_source_unanswered(path: Path) -> None:
    committed = notebooks.read(path)
    told = f"{path.name} holds answers, or its tasks have changed; to make it anew (answers in it are lost):"
    told += f" git restore notebooks/{path.name}; python -m lib.notebooks --edition student notebooks"
    assert editions.edition(notebooks.read(path), path.stem[:2], "student") == committed, told
    assert editions.answered(path, path.stem[:2]) is None
    asked = [cell for cell in tasks_of(committed) if cell.cell_type == "code" and editions.STUB in cell.source]
    said = [[(out.name, out.text) for out in cell.outputs] for cell in asked]
    assert said == [[("stdout", f"{one.name}: not answered yet\n")] for one in of_notebook(path.stem[:2])]


@EACH
def test_no_solution_stands_in_a_notebook(path: Path) -> None:
    text = "\n".join(cell.source for cell in notebooks.read(path).cells)
    assert "SOLUTION" not in text
    for one in of_notebook(path.stem[:2]):
        inside = one.code.partition("BEGIN SOLUTION\n")[2].partition("### END")[0]
        assert not [line for line in inside.splitlines() if line.strip() and line in text]


@EACH
def test_the_teachers_edition_is_right_throughout(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notebook = editions.edition(notebooks.read(path), path.stem[:2], "teacher")
    nbformat.validate(notebook)
    cells = [cell for cell in tasks_of(notebook) if cell.cell_type == "code"]
    names: dict[str, object] = {}
    for cell in cells:
        exec(cell.source, names)
    assert capsys.readouterr().out.splitlines() == [f"{one.name}: right" for one in of_notebook(path.stem[:2])]
    lines = [line for cell in cells for line in cell.source.splitlines()]
    assert max(map(len, lines)) <= 104, "runs off the page"


def test_the_command_writes_an_edition_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(editions, "ROOT", tmp_path)
    before = {path: path.read_bytes() for path in NOTEBOOKS}
    for kind in ("teacher", "student"):
        monkeypatch.setattr("sys.argv", ["notebooks", "01", "05", "--edition", kind, str(tmp_path / kind)])
        assert notebooks.main() == 0
    written = sorted(path.name for path in (tmp_path / "teacher").iterdir())
    assert written == ["01_sanity_check.ipynb", "05_ablation.ipynb"]
    assert (tmp_path / "student" / written[0]).read_bytes() == before[NOTEBOOKS[0]]
    teachers = notebooks.read(tmp_path / "teacher" / written[0])
    for ours, theirs in zip(notebooks.read(NOTEBOOKS[0]).cells, teachers.cells, strict=True):
        assert ours == theirs or "BEGIN SOLUTION" in theirs.source
    assert {path: path.read_bytes() for path in NOTEBOOKS} == before


def test_an_answer_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by stubs nor by solutions; an edition takes the place of another."""
    monkeypatch.setattr(editions, "ROOT", tmp_path)
    mine = str(tmp_path / "mine")
    fifth = next(path for path in NOTEBOOKS if path.name.startswith("05"))
    for kind in ("student", "teacher", "student"):
        [written] = editions.write({fifth: notebooks.read(fifth)}, kind, mine)
    assert str(written) == "mine/05_ablation.ipynb"
    copy = tmp_path / written
    for stub in (editions.STUB, "def median(t_grok):\n"):
        text = copy.read_text()
        copy.write_text(text.replace(json.dumps(stub)[1:-1], json.dumps(f"{stub}    half = 0.5\n")[1:-1]))
        kept = copy.read_bytes()
        for kind in editions.EDITIONS:
            with pytest.raises(notebooks.UserError, match=r"^mine/05_ablation.ipynb: holds an answer to 05.\d, which"):
                editions.write({fifth: notebooks.read(fifth)}, kind, mine)
        assert copy.read_bytes() == kept
        copy.write_text(text)
    whole = notebooks.read(fifth)
    whole.cells.insert(3, nbformat.v4.new_markdown_cell("a note of mine"))
    nbformat.write(whole, copy)
    with pytest.raises(notebooks.UserError, match=r"^mine/05_ablation.ipynb: holds changes of yours, which would be"):
        editions.write({fifth: notebooks.read(fifth)}, "student", mine)
    assert "a note of mine" in copy.read_text()


@pytest.mark.parametrize(
    "kind, folder, said",
    [
        ("pupil", "mine", "--edition pupil: must be student or teacher"),
        ("01", "teacher", "--edition 01: must be student or teacher; first the edition, then the folder"),
        ("student", "", "'': must be a folder directly in the project, such as mine"),
        ("student", ".", ".: must be a folder directly in the project, such as mine"),
        ("student", "~", "~: must be a folder directly in the project, such as mine"),
        ("student", "/tmp/mine", "/tmp/mine: must be a folder directly in the project, such as mine"),
        ("student", "lib/mine", "lib/mine: must be a folder directly in the project, such as mine"),
        ("student", "lib", "lib: holds something else; must be a new folder, or one of notebooks"),
        ("student", "README.md", "README.md: holds something else; must be a new folder, or one of notebooks"),
        (
            "teacher",
            "notebooks",
            "notebooks: holds the student's edition; write the teacher's into another, such as teaching",
        ),
    ],
)
def test_where_an_edition_would_do_harm_is_told(
    kind: str, folder: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(notebooks.ROOT)
    monkeypatch.setattr("sys.argv", ["notebooks", "01", "--edition", kind, folder])
    assert notebooks.main() == 1
    assert capsys.readouterr().err == f"error: {said}\n"


def test_a_notebook_without_a_place_for_its_tasks_is_told() -> None:
    with pytest.raises(notebooks.UserError, match="notebook 03: has lost the cell that begins with ## Your turn"):
        editions.edition(nbformat.v4.new_notebook(), "03", "student")
