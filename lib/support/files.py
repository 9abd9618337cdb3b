"""Files and folders: the project's root, atomic writes, and a lock on a folder."""

import glob
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from lib.support.errors import UserError
from lib.support.processes import handling, interrupt, is_alive

ROOT = Path(__file__).resolve().parents[2]


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file beside `path`, then rename it to `path`: readers see the old content or the new, never a part.

    Raises UserError if the file cannot be written, as on a full disk; the old content stays, and no new file.
    """
    temporary = temporary_of(path)
    with clear_error(path, partial(temporary.unlink, missing_ok=True)):
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(temporary, path)


FENCE: ContextVar[tuple[Path, Path] | None] = ContextVar("fence", default=None)


@contextmanager
def fenced(folder: Path, own: Path) -> Iterator[None]:
    """Meanwhile this process writes each file of `folder` in `own`, in it, and renames it to its place.

    Once `own` is gone, nothing of `folder` can be written or removed.
    """
    before = FENCE.set((folder, own))
    try:
        yield
    finally:
        FENCE.reset(before)


def fence_of(path: Path) -> Path | None:
    """The folder in which a file must be written before it is renamed to its place, if there is one."""
    folder, own = FENCE.get() or (None, None)
    return own if folder is not None and path.is_relative_to(folder) else None


def temporary_of(path: Path) -> Path:
    """Where this process writes before it renames to `path`. What killed processes of this machine left there goes."""
    if (own := fence_of(path)) is not None:
        return own / path.name
    here = f"{path.name}.{platform.node()}"
    for left in path.parent.glob(f"{glob.escape(here)}.[0-9]*.tmp"):
        if not is_alive(int(left.name.split(".")[-2])):
            left.unlink(missing_ok=True)
    return path.with_name(f"{here}.{os.getpid()}.tmp")


def append(path: Path, text: str) -> None:
    """Add lines to a text file. Raises UserError if they cannot be written, and leaves the file as it was."""
    if fence_of(path) is not None:
        write_atomically(path, (path.read_bytes() if path.exists() else b"") + text.encode())
        return
    size = path.stat().st_size if path.exists() else 0
    with clear_error(path, partial(os.truncate, path, size)), open(path, "a", encoding="utf-8") as file:
        file.write(text)


def remove(path: Path) -> None:
    """Remove a file, if it is there."""
    with suppress(FileNotFoundError):
        path.unlink() if fence_of(path) is None else os.replace(path, temporary_of(path))


@contextmanager
def clear_error(path: Path, undo: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Turns a failed write of `path` into a UserError, after `undo`."""
    try:
        yield
    except (OSError, SafetensorError) as error:  # safetensors has an error of its own for a full disk
        with suppress(OSError):
            undo()
        raise UserError(f"{path}: cannot be written ({getattr(error, 'strerror', error)})") from None


def write_json(path: Path, content: Any) -> None:
    write_atomically(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """An empty folder that becomes `path` in one go, at the end. If it comes to no end, nothing has changed.

    Raises UserError if it cannot be written, or if `path` is a file or a folder that is not empty.
    """
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise UserError(f"{path}: exists; must be a new or empty folder")
    with clear_error(path), handling(interrupt):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as place:
            new = Path(place, "new")
            new.mkdir()
            yield new
            new.rename(path)


@contextmanager
def sole_use(folder: Path, wait: bool = False) -> Iterator[None]:
    """Makes the folder and holds a lock on it, which the system drops if the process dies. No lock on Windows.

    Raises UserError if the folder cannot be made, or if another process holds the lock and `wait` is false.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from None
    with ExitStack() as held:
        for pause in (0.1, 0.1, 0.1, 0):
            try:
                held.enter_context(lock(folder, wait))
                break
            except BlockingIOError:
                time.sleep(pause)  # `in_use` of another process holds it for a moment
        else:
            raise UserError(f"{folder}: another process is training this run; wait for it, or stop it")
        yield


@contextmanager
def lock(folder: Path, wait: bool = False) -> Iterator[None]:
    """Holds the lock on a folder. Raises BlockingIOError if another process holds it and `wait` is false."""
    if os.name == "nt":
        yield
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(handle)


def in_use(folder: Path) -> bool:
    """Whether another process holds the lock of `sole_use` on a folder that is there."""
    try:
        with lock(folder):
            return False
    except BlockingIOError:
        return True
