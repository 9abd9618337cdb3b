"""A finished run, found by its config, and opened from its folder or from a sweep's archive."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lib.config import RunConfig
from lib.runs import archive, named
from lib.support.errors import UserError
from lib.training import folder as files

if TYPE_CHECKING:  # a list of runs is to come without waiting for torch
    from lib.language.networks import Network
    from lib.language.tokenizers import Tokenizer

CHECKPOINTS = named.CHECKPOINTS


class Run:
    """A finished run, in a folder or in a sweep's archive. Raises UserError if it is not finished, or damaged."""

    def __init__(self, path: files.Folder | str) -> None:
        self.path = path = named.locate(path)
        if not (path / files.SUMMARY).exists():
            raise UserError(f"{path}: not a finished run (no {files.SUMMARY}): {named.told(path)}")
        self.summary, self.config = self.json(files.SUMMARY), files.read_config(path / files.CONFIG)
        if not self.summary.keys() >= {"t_fit", "t_grok", "steps"}:
            raise files.damaged(path / files.SUMMARY, "t_fit, t_grok or steps is missing")
        self.t_fit: int | None = self.summary["t_fit"]
        self.t_grok: int | None = self.summary["t_grok"]
        self.diverged_at: int | None = self.summary.get("diverged_at")
        rows, end = files.read_metrics(path), self.summary["steps"]  # evaluated there, too, unless it has diverged
        wanted = self.config.train.evaluation_steps() | {end}
        files.check_whole(path / files.METRICS, [r["step"] for r in rows], wanted, end - (self.diverged_at is not None))
        self.divergence = files.divergence(self.summary)  # step, learning rate and gradient norm in words, or None
        self.at_chance = files.at_chance(self.config, rows[-1], self.summary.get("unigram_loss"))
        names = files.columns(self.config)  # a cell left empty is nan
        self.metrics = {name: np.array([row[name] for row in rows], float) for name in names}

    def json(self, name: str, remedy: str = files.AGAIN) -> dict[str, Any]:
        return files.read_json(self.path / name, remedy=remedy)

    @cached_property
    def log(self) -> str:
        return files.read_text(self.path / files.LOG)

    @property
    def delay(self) -> int | None:
        """T_grok - T_fit in steps; None if the run does not grok."""
        return None if self.t_grok is None or self.t_fit is None else self.t_grok - self.t_fit

    def results(self) -> dict[str, Any]:
        """What the report tells of the run: its summary, seed and delay, and how steady it is once it has grokked."""
        from lib.objective import PATIENCE, SOLVED

        after = self.metrics["test_acc"][self.metrics["step"] >= (self.t_grok or np.inf)][PATIENCE:]
        steadiness = {
            "lowest_after_grok": after.min() if len(after) else None,
            "share_below_after_grok": (after < SOLVED).mean() if len(after) else None,
        }
        return self.summary | {"seed": self.config.seed, "delay": self.delay} | steadiness

    @cached_property
    def answers(self) -> dict[str, np.ndarray]:
        """`step` (K,) and the answers (K, N) of each split; in an archive, those at the last step alone (K = 1).

        Raises UserError unless the run was trained with train.keep_answers.
        """
        if not self.config.train.keep_answers:
            raise self.lacking("answers", "train.keep_answers")
        kept = files.read_answers(self.path / files.ANSWERS)
        wanted = {self.summary["steps"]}
        if isinstance(self.path, Path):
            wanted |= files.spaced_steps(self.config.train)
        files.check_whole(self.path / files.ANSWERS, kept["step"], wanted, self.metrics["step"][-1])
        return kept

    @cached_property
    def samples(self) -> dict[int, str]:
        """Step -> how the network continued train.prompt then. Raises UserError unless the run had one."""
        if not self.config.train.prompt:
            raise self.lacking("samples", "train.prompt", "Once")
        kept = files.read_samples(self.path / files.SAMPLES)
        files.check_whole(self.path / files.SAMPLES, kept, self.metrics["step"], self.metrics["step"][-1])
        return kept

    @property
    def snapshots(self) -> dict[int, Path]:
        """Step -> weights file. Raises UserError unless the run was trained with train.keep_weights."""
        kept = self.path / files.SNAPSHOTS
        found = {int(path.stem): path for path in kept.glob("*.safetensors")} if isinstance(kept, Path) else {}
        if not found:
            raise self.lacking("weights on the way", "train.keep_weights")
        return dict(sorted(found.items()))

    def lacking(self, what: str, option: str, value: object = "true") -> UserError:
        """The error that tells how to train the run with what it does not keep."""
        experiment, _ = named.whereabouts(self.path)
        again = named.command(experiment, named.FOLDER, self.config.override({option: value}))
        return UserError(f"{self.path}: keeps no {what}; to train it with --{option}={value}: {again}")

    @cached_property
    def _loaded(self) -> "tuple[Network, Tokenizer, RunConfig]":
        return named.load(self.path)

    def load(self) -> "tuple[Network, Tokenizer, RunConfig]":
        """Model, tokenizer and config, from the stored weights. Raises UserError if the run keeps none."""
        return self._loaded


def find(experiment: str, config: RunConfig, root: Path = CHECKPOINTS) -> Run | None:
    """The finished run of `config`, from its folder or from the archive `<experiment>.zip`; None if there is none.

    A run in the archive that was begun again counts as none until it is finished.
    """
    folder = Path(root) / experiment / config.id
    places: list[files.Folder] = [folder]
    packed = archive.open_archive(archive.archive_of(folder.parent))
    if packed is not None and not (folder / files.STATE).exists():
        places.append(packed / folder.name)
    runs = (Run(place) for place in places if (place / files.SUMMARY).exists())
    return next((run for run in runs if run.config == config), None)


def stored(experiment: str, config: RunConfig, root: Path = CHECKPOINTS) -> Run:
    """The finished run of `config`; raises UserError if there is none."""
    run = find(experiment, config, root)
    if run is None:
        how = named.command(experiment, Path(root).absolute(), config)
        raise UserError(f"{Path(root) / experiment / config.id}: not a finished run; to train it: {how}")
    return run
