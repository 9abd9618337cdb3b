"""The tasks as cells of the notebooks: stubs in the student's edition, solutions in the teacher's.

The tasks stand between the cell that begins with HEADING and a notebook's last cell. Needs nbgrader.
"""

import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import nbformat

from lib.course.task import of_notebook
from lib.support.errors import UserError, check_package, first_line
from lib.support.files import ROOT, write_atomically

EDITIONS = ("student", "teacher")
HEADING = "## Your turn"
TEXT = (
    HEADING
    + "\n\nPut your answer where it says `mine = ...` and run the cell: `check` says whether it is right, or what"
    ' is wrong. If you are stuck, `solution("{first}")` shows a solution. These cells need only the first code cell of'
    " the notebook and the next one."
)
IMPORTS = "import numpy as np\nimport torch\n\nfrom lib.course import check, solution"
STUB = "mine = ...  # your answer"
UNANSWERED = re.compile(rf'(def .*\n    """.*"""\n    )?{re.escape(STUB)}\n(    return mine\n\n\n)?check\(.*\)')


def task_cells(number: str) -> list[nbformat.NotebookNode]:
    """The cells of a notebook's tasks, with the solutions, between nbgrader's marks."""
    tasks = of_notebook(number)
    code, text = nbformat.v4.new_code_cell, nbformat.v4.new_markdown_cell
    cells = [text(TEXT.format(first=tasks[0].name)), code(IMPORTS)]
    for one in tasks:
        told, asked = one.cells
        cells += [text(told), code(asked)]
    return cells


def without_solutions(cells: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """The same cells with a stub in place of each solution."""
    check_package("an edition", "nbgrader")
    from nbgrader.preprocessors import ClearSolutions

    clear = ClearSolutions(code_stub={"python": STUB}, enforce_metadata=False)
    notebook, _ = clear.preprocess(nbformat.v4.new_notebook(cells=cells), {})
    return notebook.cells


def edition(notebook: nbformat.NotebookNode, number: str, kind: str) -> nbformat.NotebookNode:
    """Put an edition's tasks into a notebook, in place; cells that stay the same keep their outputs.

    Raises UserError if the notebook has no place for the tasks.
    """
    first = next((i for i, cell in enumerate(notebook.cells) if cell.source.startswith(HEADING)), None)
    if first is None:
        raise UserError(f"notebook {number}: has lost the cell that begins with {HEADING}, where its tasks stand")
    cells = task_cells(number)
    cells = without_solutions(cells) if kind == "student" else cells
    before, was, last = notebook.cells[:first], notebook.cells[first:-1], notebook.cells[-1]
    kept: dict[str, Any] = {cell.source: cell for cell in was}
    cells = [kept.get(cell.source, cell) for cell in cells] + [last]
    begin = 1 + max(int(cell.id[5:]) for cell in before if re.fullmatch(r"cell-\d+", cell.id))
    for place, cell in enumerate(cells, begin):
        cell.id = f"cell-{place:02}"
    notebook.cells = before + cells
    return notebook


def checked_folder(kind: str, folder: str) -> Path:
    """A folder for an edition. Raises UserError where its notebooks would not work, or do harm."""
    if kind not in EDITIONS:
        order = "; first the edition, then the folder" if folder in EDITIONS else ""
        raise UserError(f"--edition {kind}: must be {' or '.join(EDITIONS)}{order}")
    path = Path(folder).resolve()
    if path.parent != ROOT.resolve() or folder.startswith("~"):
        raise UserError(f"{folder or repr(folder)}: must be a folder directly in the project, such as mine")
    if path.exists() and not (path.is_dir() and (any(path.glob("*.ipynb")) or not any(path.iterdir()))):
        raise UserError(f"{folder}: holds something else; must be a new folder, or one of notebooks")
    if kind == "teacher" and path.name == "notebooks":
        raise UserError(f"{folder}: holds the student's edition; write the teacher's into another, such as teaching")
    return path


def answered(path: Path, number: str) -> str | None:
    """The name of the first task to which a notebook holds an answer that is not the solution."""
    try:
        cells = nbformat.read(path, as_version=4).cells
    except Exception as error:
        raise UserError(f"{path.parent.name}/{path.name}: not a whole notebook ({first_line(error)})") from None
    solutions = [cell.source for cell in task_cells(number)]
    for cell in cells:
        asked = re.search(rf'^check\("({number}\.\d)"', cell.source, re.MULTILINE)
        if asked and cell.source not in solutions and not UNANSWERED.fullmatch(cell.source):
            return asked[1]
    return None


def own_cells(path: Path, notebook: nbformat.NotebookNode) -> bool:
    """Whether a copy of a notebook has a cell that no edition has."""
    fresh = [edition(deepcopy(notebook), path.name[:2], kind).cells for kind in EDITIONS]
    known = {"", *(cell.source for cells in fresh for cell in cells)}
    return any(cell.source not in known for cell in nbformat.read(path, as_version=4).cells)


def write(notebooks: dict[Path, nbformat.NotebookNode], kind: str, folder: str) -> list[Path]:
    """Write an edition of some notebooks, by path, into a folder; returns the files.

    Raises UserError, and writes nothing, if an answer would be lost.
    """
    target = checked_folder(kind, folder)
    for old, notebook in ((target / path.name, notebook) for path, notebook in notebooks.items()):
        if old.exists() and (name := answered(old, old.name[:2])):
            lost = f"{target.name}/{old.name}: holds an answer to {name}, which would be lost"
            raise UserError(f"{lost}; write into another folder")
        if old.exists() and target.name != "notebooks" and own_cells(old, notebook):
            lost = f"{target.name}/{old.name}: holds changes of yours, which would be lost"
            raise UserError(f"{lost}; write into another folder")
    texts = {target / path.name: nbformat.writes(edition(n, path.name[:2], kind)) for path, n in notebooks.items()}
    target.mkdir(exist_ok=True)
    for path, text in texts.items():
        write_atomically(path, text + "\n")
    return [path.relative_to(ROOT.resolve()) for path in texts]
