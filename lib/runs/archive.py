"""A sweep's run folders as one file, `<experiment>.zip`: hundreds of small files would bury the repository.

All of it is one entry, which is a zip in turn, so that it is compressed as a whole: runs are much alike, and this saves
two fifths of the bytes.
"""

import io
import shutil
import zipfile
from collections.abc import Collection
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from lib.support.errors import UserError
from lib.support.files import sole_use, write_atomically
from lib.training import folder as files
from lib.training.backends import FOLDERS

KEPT = (files.CONFIG, files.ENVIRONMENT, files.METRICS, files.SUMMARY, files.LOG, files.ANSWERS, files.SAMPLES)
EPOCH = (1980, 1, 1, 0, 0, 0)  # the same runs make the same bytes
WHOLE = "all.zip"


def archive_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.zip")  # a name may have a dot


def pack(folder: Path, names: Collection[str]) -> None:
    """Move the finished runs `names` from `folder` into the archive beside it, without weights.

    What the archive holds already stays, unless the folder has it anew. The archive is replaced in one go, and each
    folder is put aside in one go before it is emptied: whenever this is cut off, every run is whole in one place.
    What back ends wrote (lib/training/backends.py) stays in the folder, where W&B and TensorBoard look for it.
    """
    with sole_use(folder.parent, wait=True):  # another command may be packing runs of the same experiment
        if not folder.exists():  # and have packed them all
            return
        for aside in folder.glob("*.tmp"):  # left by a call that was cut off
            clear(aside)
        finished = sorted(run for run in folder.iterdir() if run.name in names and (run / files.SUMMARY).exists())
        if finished:
            add(archive_of(folder), finished)
        for run in finished:
            clear(run.rename(run.with_name(f"{run.name}.tmp")))
        if not any(folder.iterdir()):
            folder.rmdir()


def add(path: Path, runs: Collection[Path]) -> None:
    """Write the archive anew, with these runs and the others that it holds."""
    kept = [file for run in runs for file in run.iterdir() if file.name in KEPT]
    if (before := open_archive(path)) is not None:
        again = {run.name for run in runs}
        kept += [file for run in before.iterdir() if run.name not in again for file in run.iterdir()]
    contents = {(file.name, file.parent.name): content_of(file) for file in kept}
    inner, outer = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        for (name, run), content in sorted(contents.items()):  # what is alike stands together
            archive.writestr(zipfile.ZipInfo(f"{run}/{name}", EPOCH), content)
    with zipfile.ZipFile(outer, "w") as archive:
        archive.writestr(zipfile.ZipInfo(WHOLE, EPOCH), inner.getvalue(), zipfile.ZIP_DEFLATED, compresslevel=9)
    write_atomically(path, outer.getvalue())


def content_of(file: files.Folder) -> bytes:
    """A file's bytes as the archive has them: of the answers, those at the last step alone."""
    whole = file.read_bytes()
    if file.name == files.ANSWERS:
        with suppress(UserError):  # a damaged file is told of when somebody asks for the answers
            return files.answers_file({name: rows[-1:] for name, rows in files.read_answers(file).items()})
    return whole


def clear(aside: Path) -> None:
    """Remove a run's folder that was put aside; what back ends wrote goes back to where it was."""
    run = aside.with_suffix("")
    for shown in (aside / name for name in FOLDERS if (aside / name).exists() and not (run / name).exists()):
        run.mkdir(exist_ok=True)
        shown.rename(run / shown.name)
    shutil.rmtree(aside)


def open_archive(path: Path) -> zipfile.Path | None:
    """An archive as a folder of runs; None if there is none. Raises UserError if it is damaged."""
    return read_contents(path, path.stat().st_mtime_ns) if path.is_file() else None


@lru_cache(maxsize=8)
def read_contents(path: Path, changed: int) -> zipfile.Path:
    """The archive as it is now, in memory: read once as long as it does not change, and never held open."""
    content = path.read_bytes()
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
        if archive.namelist() == [WHOLE]:
            archive = zipfile.ZipFile(io.BytesIO(archive.read(WHOLE)))
        fault: object = archive.testzip()
    except files.FAULTS as error:
        fault = error
    if fault:
        raise files.damaged(path, fault, "delete it to train its runs again")
    archive.filename = str(path)  # what messages call it
    return zipfile.Path(archive)
