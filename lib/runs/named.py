"""What a path names: weights to load, or a run in another state, which is told with the command that goes on."""

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from lib.config import RunConfig
from lib.experiments.catalogue import EXPERIMENTS
from lib.runs import claims
from lib.runs.archive import archive_of, open_archive
from lib.support.errors import UserError
from lib.support.files import ROOT, in_use
from lib.training import folder as files
from lib.training.folder import Folder

if TYPE_CHECKING:
    from lib.language.networks import Network
    from lib.language.tokenizers import Tokenizer

CHECKPOINTS = ROOT / "checkpoints"
FOLDER = Path("NEW_FOLDER")  # stands for one of the user's choice


def load(path: str | Folder, device: str = "cpu") -> "tuple[Network, Tokenizer, RunConfig]":
    """`load_weights`, but where there are none the UserError tells what the path names, and what to do about it."""
    place = locate(path)
    file = place / files.WEIGHTS if place.is_dir() else place
    if isinstance(file, Path) and file.is_file():
        from lib.training.weights import load_weights

        return load_weights(file, device)
    if str(path) in EXPERIMENTS and not os.path.exists(str(path)):
        path = CHECKPOINTS / str(path)  # as lib.train calls it
        place = locate(path)
    raise UserError(f"{path}: {told(place)}")


def locate(path: str | Folder) -> Folder:
    """The file or folder at a path, which may be in a sweep's archive.

    Both `checkpoints/methods.zip/ID` and `checkpoints/methods/ID` find the run ID in `checkpoints/methods.zip`.
    """
    if not isinstance(path, str | Path):
        return path
    path = Path(path)
    if path.is_dir() or (path.exists() and path.suffix != ".zip"):
        return path
    whole = Path(os.path.abspath(path))
    for sweep in (whole, whole.parent):
        if sweep.name and (packed := open_archive(sweep if sweep.suffix == ".zip" else archive_of(sweep))):
            found = packed.joinpath(*whole.relative_to(sweep).parts[:1])
            return found if found.is_dir() else path
    return path


def told(place: Folder) -> str:
    """What there is at a place without weights, in words, and what to do about it."""
    above = Path(os.path.abspath(place)).parents[:2] if isinstance(place, Path) else ()
    for run in (place, *above):
        if (run / files.CONFIG).exists():
            if "model_type" in files.read_json(run / files.CONFIG):  # as Hugging Face writes it
                return f"neither a run folder nor a weights file; try: python -m lib.export {run} --from hf"
            return told_of_run(run)
    runs = [run for run in place.iterdir() if (run / files.CONFIG).exists()] if place.is_dir() else []
    if runs and not isinstance(place, Path):
        again = command(whereabouts(runs[0])[0], FOLDER)
        return f"an archive of {len(runs)} runs without weights; to train them again: {again}"
    if runs:
        example = min(runs, key=lambda run: (not (run / files.WEIGHTS).exists(), run.name))
        return f"a folder of runs; name one of them, such as {example}"
    if isinstance(place, Path) and (inner := sorted(place.glob(f"*/*/{files.WEIGHTS}"))):
        return f"a folder of experiments; name a run of one, such as {inner[0].parent}"
    what = "neither a run folder nor a weights file" if place.exists() or place.is_dir() else "no such file or folder"
    return f"{what}; must be a run folder with {files.WEIGHTS}, or such a file"


def told_of_run(run: Folder) -> str:
    """How far a run is, in words, and what to do for its weights."""
    config = files.read_config(run / files.CONFIG)
    experiment, root = whereabouts(run)
    if (run / files.WEIGHTS).exists():
        return f"no such file; the weights of this run are {run / files.WEIGHTS}"
    if (run / files.SUMMARY).exists():
        if why := files.divergence(files.read_json(run / files.SUMMARY)):
            return f"a run that diverged, and so has no weights: {why}; a lower optim.lr or optim.clip may help"
        where = "without weights" if isinstance(run, Path) else "in an archive without weights"
        return f"a finished run, stored {where}; to train it again: {command(experiment, FOLDER, config)}"
    if not isinstance(run, Path):  # an archive holds what is finished
        raise files.damaged(run / files.SUMMARY, "it is missing")
    last = f"of {config.train.max_steps:,}"
    if in_use(run) or claims.held_by(run):
        step = max((int(row["step"]) for row in files.read_metrics(run)), default=0)
        return f"a run that is being trained, at step {step:,} {last} or later; its weights come at the end"
    from lib.training import state

    saved, again = state.read(run, mapped=True), command(experiment, root, config)
    if saved is None:
        return f"a run that was begun, and of which nothing is saved; to train it: {again}"
    return f"a run that was stopped at step {saved['step']:,} {last}; to go on: {again}"


def whereabouts(run: Folder) -> tuple[str, Path]:
    """The experiment that a run's place is named after, and the folder of all experiments."""
    sweep = run.absolute().parent if isinstance(run, Path) else Path(run.root.filename).absolute().with_suffix("")
    return sweep.name, sweep.parent


def command(experiment: str, root: Path, config: RunConfig | None = None) -> str:
    """The command line that trains a run of an experiment and no other, or goes on with it; without `config` all."""
    if experiment not in EXPERIMENTS:
        return "the same call as before"
    bases = [base.flat() for base in EXPERIMENTS[experiment]()]
    asked = config.flat() if config else {}
    fields = {name: value for name, value in asked.items() if any(base[name] != value for base in bases)}
    if "train.max_steps" in fields:
        fields["optim.fall_steps"] = asked["optim.fall_steps"]  # which would follow it
    words = [f"--{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in fields.items()]
    place = [] if root == CHECKPOINTS else ["--checkpoints", str(root)]
    return shlex.join(["python", "-m", "lib.train", experiment, *words, *place])
