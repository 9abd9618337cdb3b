"""The course folder's address, in a copy of the notebooks and the README."""

import shutil
from pathlib import Path

import nbformat
import pytest
from conftest import NOTEBOOKS, ROOT

from lib import notebooks
from lib.analysis import address
from lib.support.errors import UserError


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Copies of the notebooks, and last of the README, to which the command writes."""
    monkeypatch.setattr(notebooks, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(address, "README", tmp_path / "README.md")
    return [Path(shutil.copy(path, tmp_path)) for path in (*NOTEBOOKS, ROOT / "README.md")]


def test_the_address_is_written_everywhere_and_back_again(
    copies: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def write(where: str) -> tuple[list[bytes], list[str]]:
        monkeypatch.setattr("sys.argv", ["notebooks", "--address", where])
        assert notebooks.main() == 0
        return [path.read_bytes() for path in copies], capsys.readouterr().out.splitlines()

    none, _ = write(address.PLACEHOLDER)
    assert not any(b"colab-badge" in content or b"/github/OWNER" in content for content in none)
    one, told = write("https://github.com/some-one/my.course")
    assert told == [f"{path.name} changed" for path in copies]
    for path, before in zip(copies[:-1], none, strict=False):
        was, now, as_it_is = nbformat.reads(before.decode(), 4), nbformat.read(path, 4), nbformat.read(path, 4)
        assert notebooks.normalise(as_it_is) == now
        link = f"https://colab.research.google.com/github/some-one/my.course/blob/HEAD/notebooks/{path.name}"
        assert now.cells[0].source.splitlines()[2].endswith(f"]({link})") and link in copies[-1].read_text()
        [setup] = [cell for cell in now.cells if '"https://github.com/some-one/my.course"' in cell.source]
        setup.source = setup.source.replace("some-one/my.course", "OWNER/NAME")
        now.cells[0].source = was.cells[0].source
        assert now == was
    assert write("https://github.com/some-one/my.course.git") == (one, ["nothing to change: all have this address"])
    other, _ = write("https://github.com/a/b/")
    assert not any(b"some-one" in content for content in other) and all(b"/a/b/blob/" in content for content in other)
    assert write(address.PLACEHOLDER)[0] == none


def test_the_committed_files_have_one_address(copies: list[Path]) -> None:
    own = {path: notebooks.read(path) for path in copies[:-1]}
    sources = [cell.source for notebook in own.values() for cell in notebook.cells]
    [one] = {found[0] for source in sources if (found := address.IN_CELL.search(source))}
    assert address.set_address(one, own) == []


@pytest.mark.parametrize("place", ["gitlab.com/a/b", "github.com/a", "github.com/a/b/tree/x", 'github.com/a/b"', ""])
def test_what_is_no_address_is_refused(place: str) -> None:
    for wrong in (f"https://{place}", place, f"http://{place}", "git@github.com:a/b", "https://github.com/a/..", "\n"):
        with pytest.raises(
            UserError, match=r"^--address .*: must be that of a repository at GitHub, https://github\.com/"
        ):
            address.checked(wrong)


def test_a_file_without_a_place_for_it_is_named_before_anything_is_written(copies: list[Path]) -> None:
    copies[-1].write_text("no mark")
    copies[1].write_text(copies[1].read_text().replace("REPOSITORY, COLAB", "A, B"))
    before = [path.read_bytes() for path in copies]
    for paths, words in ((copies[:2], f"{copies[1]}: has lost its title or"), (copies[:1], "has lost a mark")):
        with pytest.raises(UserError, match=words):
            address.set_address("https://github.com/a/b", {path: notebooks.read(path) for path in paths})
    assert [path.read_bytes() for path in copies] == before
