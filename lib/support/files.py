"""Files and folders: the project's root, atomic writes, and a lock on a folder."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lib.support.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file beside `path`, then rename it to `path`: readers see the old content or the new, never a part."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(content.encode() if isinstance(content, str) else content)
    os.replace(temporary, path)


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
