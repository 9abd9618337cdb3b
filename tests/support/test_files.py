"""Writes that fail leave what was there."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from safetensors.torch import save_file

from lib.language import corpora
from lib.support.errors import UserError
from lib.support.files import append, clear_error, new_folder, write_atomically


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file may grow beyond 4,096 bytes: a write beyond them fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, ignored)


def test_a_file_that_cannot_be_replaced_stays_and_nothing_lies_beside_it(tmp_path: Path, full_disk: None) -> None:
    path = tmp_path / "state.pt"
    write_atomically(path, b"old")
    with pytest.raises(UserError, match=r"state\.pt: cannot be written \(File too large\)"):
        write_atomically(path, bytes(10_000))
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["state.pt"]


def test_lines_that_cannot_be_added_are_not_there_in_part(tmp_path: Path, full_disk: None) -> None:
    path = tmp_path / "metrics.csv"
    append(path, "step\n" * 800)
    with pytest.raises(UserError, match=r"metrics\.csv: cannot be written"):
        append(path, "half a row " * 100)
    assert path.read_text() == "step\n" * 800


def test_a_full_disk_names_the_file_in_the_cache_or_of_safetensors(
    tmp_path: Path, full_disk: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpora, "CACHE", tmp_path / "cache")
    monkeypatch.setenv("CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(UserError, match=r"ids: cannot be written \(File too large\)"):
        corpora.kept("ids.uint16", lambda: [bytes(3000)] * 9)
    path = tmp_path / "model.safetensors"
    with pytest.raises(UserError, match=r"model\.safetensors: cannot be written \(.*File too large"), clear_error(path):
        save_file({"a": torch.zeros(9999)}, path)
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_folder_that_is_stopped_half_way_never_was(tmp_path: Path, stop: signal.Signals) -> None:
    before = signal.getsignal(stop)
    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "made" / "folder") as folder:
        (folder / "half").touch()
        os.kill(os.getpid(), stop)
    assert not list((tmp_path / "made").iterdir()) and signal.getsignal(stop) == before


def test_a_folder_is_there_at_once_and_takes_no_place_but_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()  # empty: nobody's
    with new_folder(path) as folder:
        (folder / "config.json").write_text("made")
        assert not list(path.iterdir())
    assert (path / "config.json").read_text() == "made" and list(tmp_path.iterdir()) == [path]
    for taken in (path, path / "config.json"):
        with pytest.raises(UserError, match="exists; must be a new or empty folder"), new_folder(taken):
            pass
    assert (path / "config.json").read_text() == "made" and list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_half_written_goes_with_the_next_write(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    code = f"""
import os, pathlib, signal
from lib.support.files import write_atomically
os.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
write_atomically(pathlib.Path({str(path)!r}), "half")
"""
    killed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    [half] = tmp_path.iterdir()
    assert killed.returncode == -signal.SIGKILL and half.read_text() == "half"
    of_a_living_one = half.with_name(half.name.replace(half.name.split(".")[-2], str(os.getppid())))
    of_another_file = half.with_name(f"other_{half.name}")
    for other in (of_a_living_one, of_another_file):
        other.touch()
    write_atomically(path, "whole")
    assert {*tmp_path.iterdir()} == {path, of_a_living_one, of_another_file}
