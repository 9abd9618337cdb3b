"""The set-up cells as Colab runs them: they clone the course's address, which git is told to find in a bare repository.

Instead of pip a script writes down what it is asked for. Colab's folder /content is one of the test's own.
"""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from conftest import NOTEBOOKS, ROOT

from lib.analysis import address

ADDRESS = "https://github.com/some-one/my.course"


def git(*args: object, cwd: Path) -> None:
    who = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *who, *map(str, args)], cwd=cwd, check=True, capture_output=True)


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare repository of a course with ADDRESS, as if pushed."""
    home = tmp_path_factory.mktemp("pushed")
    (home / "course" / "lib").mkdir(parents=True)
    for name in ("lib/__init__.py", "lib/config.py", "requirements.txt"):
        (home / "course" / name).write_bytes((ROOT / name).read_bytes())
    git("init", "--quiet", cwd=home / "course")
    git("add", ".", cwd=home / "course")
    git("commit", "--quiet", "-m", "The course", cwd=home / "course")
    git("clone", "--quiet", "--bare", home / "course", home / "bare.git", cwd=home)
    return home / "bare.git"


@pytest.mark.skipif(sys.platform == "win32", reason="the script in pip's place is a shell's")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_set_up_cell_fetches_the_course_installs_and_finds_it(path: Path, course: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    address.in_notebook(notebook, ADDRESS, path)
    [cell] = [cell.source for cell in notebook.cells if ADDRESS in cell.source and cell.cell_type == "code"]
    clone, asked, pip = tmp_path / "content" / "grokking", tmp_path / "asked", tmp_path / "python"
    clone.parent.mkdir()
    pip.write_text(f'#!/bin/sh\necho "$@" >> {asked}\n')
    pip.chmod(0o755)
    assert "/content/grokking" in cell
    lines = ["import sys", "sys.modules['google.colab'] = sys", f"sys.executable = {str(pip)!r}"]
    lines += [cell.replace("/content/grokking", str(clone)), "import lib", "print(lib.__file__)"]
    there = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{course.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": ADDRESS,
    }
    for _ in range(2):  # the second time it is there, and nothing is fetched
        call = subprocess.run(
            [sys.executable, "-I", "-c", "\n".join(lines)],
            **{"cwd": clone.parent, "env": os.environ | there, "capture_output": True, "text": True, "check": False},
        )
        assert call.stdout == f"{clone / 'lib' / '__init__.py'}\n", call.stderr
    assert asked.read_text() == f"-m pip install -qr {clone}/requirements.txt\n"
