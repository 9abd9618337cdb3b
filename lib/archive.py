"""A sweep's run folders as one file, `<experiment>.zip`: hundreds of small files would bury the repository."""

import os
import shutil
import zipfile
from pathlib import Path

KEPT = ("config.json", "env.json", "metrics.csv", "summary.json", "train.log")  # not the weights
EPOCH = (1980, 1, 1, 0, 0, 0)  # the same runs make the same bytes


def pack(folder: Path) -> Path:
    """Move the finished runs in `folder` into the archive beside it, without weights; runs it holds already stay."""
    path = archive_of(folder)
    unpack(folder)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    finished = sorted(run for run in folder.iterdir() if (run / "summary.json").exists())
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for run in finished:
            for name in KEPT:
                content = (run / name).read_bytes()
                archive.writestr(zipfile.ZipInfo(f"{run.name}/{name}", EPOCH), content, zipfile.ZIP_DEFLATED, 9)
    os.replace(temporary, path)
    for run in finished:
        shutil.rmtree(run)
    if not any(folder.iterdir()):
        folder.rmdir()
    return path


def unpack(folder: Path) -> None:
    """Put an archive's runs back into folders; those that are there already are newer, and stay."""
    path = archive_of(folder)
    if not path.exists():
        return
    with zipfile.ZipFile(path) as archive:
        there = {run.name for run in folder.iterdir()} if folder.exists() else set()
        for name in archive.namelist():
            if name.partition("/")[0] not in there:
                archive.extract(name, folder)
    path.unlink()


def archive_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.zip")
