"""A run that is trained again: the old one stays in its folder until the new one has saved something."""

import shutil
from pathlib import Path

from lib.support.files import sole_use
from lib.training.folder import STATE, SUMMARY

OLD, MOVING = "replaced", "replaced.part"  # what the folder held before; it is whole once it is called OLD


def set_aside(folder: Path) -> None:
    """Move what a run folder holds into OLD in it, also where the folder is a link.

    Raises UserError if a process trains in it.
    """
    settle(folder)
    with sole_use(folder):
        moving = folder / MOVING
        moving.mkdir()
        for path in folder.iterdir():
            if path != moving:
                path.rename(moving / path.name)
        moving.rename(folder / OLD)


def settle(folder: Path) -> None:
    """End what `set_aside` began: the old run goes if the new one has saved a state or a summary, else it comes back.

    Whenever this is cut off, it can be called again. Raises UserError if a process trains in the folder.
    """
    old, moving = folder / OLD, folder / MOVING
    if not (old.exists() or moving.exists()):
        return
    with sole_use(folder):
        if old.exists() and ((folder / STATE).exists() or (folder / SUMMARY).exists()):
            shutil.rmtree(old)
        elif old.exists():
            for path in folder.iterdir():
                if path != old:
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            old.rename(moving)
        if moving.exists():
            for path in moving.iterdir():
                path.rename(folder / path.name)
            moving.rmdir()
