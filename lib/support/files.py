"""Files and folders: the project's root, atomic writes, and a lock on a folder."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from lib.support.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file beside `path`, then rename it to `path`: readers see the old content or the new, never a part.

    Raises UserError if the file cannot be written, as on a full disk; the old content stays, and no new file.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with clear_error(path, partial(temporary.unlink, missing_ok=True)):
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(temporary, path)


def append(path: Path, text: str) -> None:
    """Add lines to a text file. Raises UserError if they cannot be written, and leaves the file as it was."""
    size = path.stat().st_size if path.exists() else 0
    with clear_error(path, partial(os.truncate, path, size)), open(path, "a", encoding="utf-8") as file:
        file.write(text)


@contextmanager
def clear_error(path: Path, undo: Callable[[], None]) -> Iterator[None]:
    """Turns a failed write of `path` into a UserError, after `undo`."""
    try:
        yield
    except OSError as error:
        with suppress(OSError):
            undo()
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None


def write_json(path: Path, content: Any) -> None:
    write_atomically(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def sole_use(folder: Path, wait: bool = False) -> Iterator[None]:
    """Makes the folder and holds a lock on it, which the system drops if the process dies. No lock on Windows.

    Raises UserError if the folder cannot be made, or if another process holds the lock and `wait` is false.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from None
    if os.name == "nt":
        yield
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise UserError(f"{folder}: another process is training this run; wait for it, or stop it") from None
        yield
    finally:
        os.close(handle)
