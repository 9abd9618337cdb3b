"""Where the course folder is to be found: its address in the set-up cells and badges of the notebooks, and the README.

Without an address there is a placeholder in the set-up cells, and no badge: it would lead nowhere.
"""

import re
from pathlib import Path

import nbformat

from lib.analysis.readme import README, filled
from lib.support.errors import UserError, shortened
from lib.support.files import write_atomically

PLACEHOLDER = "https://github.com/OWNER/NAME"
ADDRESS = re.compile(r"https://github\.com/([A-Za-z\d][A-Za-z\d-]*/[\w.-]+?)(?:\.git)?/?", re.ASCII)
IN_CELL = re.compile(r'(?<=^REPOSITORY, COLAB = ")[^"]*', re.MULTILINE)
BADGE = "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({link})\n\n"
ANY_BADGE = re.compile(re.escape(BADGE).replace(r"\{link\}", "[^)]*"))


def checked(address: str) -> str:
    """The address as it is written. Raises UserError unless it is that of a repository at GitHub, where Colab looks."""
    found = ADDRESS.fullmatch(address)
    if not found or found[1].endswith(("/.", "/..")):
        raise UserError(f"--address {shortened(address)}: must be that of a repository at GitHub, {PLACEHOLDER}")
    return f"https://github.com/{found[1]}"


def colab(address: str, path: Path) -> str:
    """The link that opens a notebook in Colab, from the branch that GitHub shows first."""
    repository = address.removeprefix("https://github.com/")
    return f"https://colab.research.google.com/github/{repository}/blob/HEAD/notebooks/{path.name}"


def in_notebook(notebook: nbformat.NotebookNode, address: str, path: Path) -> None:
    """Put the address into a notebook's set-up cell, and its badge below the title. Raises UserError without such."""
    title, setup = notebook.cells[0], next((cell for cell in notebook.cells if IN_CELL.search(cell.source)), None)
    if setup is None or "\n\n" not in title.source:
        raise UserError(f"{path}: has lost its title or its set-up cell, which begins with REPOSITORY, COLAB = ")
    setup.source = IN_CELL.sub(address, setup.source)
    badge = "" if address == PLACEHOLDER else BADGE.format(link=colab(address, path))
    title.source = ANY_BADGE.sub("", title.source).replace("\n\n", f"\n\n{badge}", 1)


def in_readme(address: str, paths: list[Path]) -> str:
    """What the README says of Colab."""
    links = " ".join(f"[{path.stem[:2]}]({colab(address, path)})" for path in paths)
    how = f"{links}, or the badge below each title. To write another address everywhere"
    if address == PLACEHOLDER:
        how = "push this folder to GitHub, tell the notebooks its address, and push again; each then has a badge"
    command = "```sh\n.venv/bin/python -m lib.notebooks --address https://github.com/you/yours\n```\n"
    return f"**In Colab**: {how}:\n\n{command}"


def set_address(address: str, notebooks: dict[Path, nbformat.NotebookNode]) -> list[Path]:
    """Write the address wherever it stands, in place of the one before; returns the files that it changes.

    Raises UserError before anything is written if a file has no place for it.
    """
    address, texts = checked(address), {}
    for path, notebook in notebooks.items():
        in_notebook(notebook, address, path)
        texts[path] = nbformat.writes(notebook) + "\n"
    texts[README] = filled(README, "colab", in_readme(address, sorted(notebooks)))
    changed = [path for path, text in texts.items() if path.read_text(encoding="utf-8") != text]
    for path in changed:
        write_atomically(path, texts[path])
    return changed
