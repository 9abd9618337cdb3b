"""A finished run, found by its config, and opened from its folder or from a sweep's archive.

torch is imported when it is needed, so that a list of runs need not wait for it.
"""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lib.config import RunConfig
from lib.runs import archive
from lib.support.errors import UserError
from lib.support.files import ROOT
from lib.training import folder as files

if TYPE_CHECKING:
    from lib.language.networks import Network
    from lib.language.tokenizers import Tokenizer

CHECKPOINTS = ROOT / "checkpoints"


class Run:
    """A finished run, in a folder or in a sweep's archive. Raises UserError if it is not finished, or damaged."""

    def __init__(self, path: files.Folder | str) -> None:
        self.path = path = Path(path) if isinstance(path, str) else path
        if not (path / files.SUMMARY).exists():
            raise UserError(f"{path}: not a finished run: it has no {files.SUMMARY}")
        self.summary, config = self.json(files.SUMMARY), self.json(files.CONFIG)
        try:
            self.config = RunConfig.from_dict(config)
        except UserError as error:
            raise UserError(f"{path / files.CONFIG}: {error}") from None
        rows = files.read_metrics(path)
        whole = rows and (rows[-1]["step"] == self.summary.get("steps") or "diverged_at" in self.summary)
        if not whole or not self.summary.keys() >= {"t_fit", "t_grok"}:
            raise UserError(f"{path}: {files.METRICS} or {files.SUMMARY} is damaged; train the run again with --fresh")
        self.t_fit: int | None = self.summary["t_fit"]
        self.t_grok: int | None = self.summary["t_grok"]
        self.diverged_at: int | None = self.summary.get("diverged_at")
        self.divergence = files.divergence(self.summary)  # step, learning rate and gradient norm in words, or None
        self.at_chance = files.at_chance(self.config, rows[-1], self.summary.get("unigram_loss"))
        names = files.columns(self.config)  # a cell left empty is nan
        self.metrics = {name: np.array([row[name] for row in rows], float) for name in names}

    def json(self, name: str) -> dict[str, Any]:
        try:
            return files.read_json(self.path / name)
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{self.path / name}: cannot be read ({error}); train the run again with --fresh") from None

    @cached_property
    def log(self) -> str:
        return (self.path / files.LOG).read_text(encoding="utf-8")

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
        """`step` (K,) and the answers (K, N) of each split. Raises UserError unless trained with train.keep_answers."""
        if not (self.path / files.ANSWERS).exists():
            raise UserError(f"{self.path}: keeps no answers; train it with --train.keep_answers true")
        return files.read_answers((self.path / files.ANSWERS).read_bytes())

    @cached_property
    def samples(self) -> dict[int, str]:
        """Step -> how the network continued train.prompt then. Raises UserError unless the run had one."""
        return {sample["step"]: sample["text"] for sample in self.json(files.SAMPLES)}

    @property
    def snapshots(self) -> dict[int, Path]:
        """Step -> weights file. Raises UserError unless the run was trained with train.keep_weights."""
        kept = self.path / files.SNAPSHOTS
        found = {int(path.stem): path for path in kept.glob("*.safetensors")} if isinstance(kept, Path) else {}
        if not found:
            raise UserError(f"{self.path}: keeps no weights on the way; train it again with --train.keep_weights true")
        return dict(sorted(found.items()))

    @cached_property
    def _loaded(self) -> "tuple[Network, Tokenizer, RunConfig]":
        if not isinstance(self.path, Path):
            raise UserError(f"{self.path}: an archived run keeps no weights; train it again with --checkpoints FOLDER")
        from lib.training.weights import load_weights

        return load_weights(self.path)

    def load(self) -> "tuple[Network, Tokenizer, RunConfig]":
        """Model, tokenizer and config, from the stored weights. Raises UserError if the run keeps none."""
        return self._loaded


def find(experiment: str, config: RunConfig, root: Path = CHECKPOINTS) -> Run | None:
    """The finished run of `config`, from its folder or from the archive `<experiment>.zip`; None if there is none.

    A run in the archive that was begun again counts as none until it is finished.
    """
    folder = Path(root) / experiment / config.id
    places: list[files.Folder] = [folder]
    packed = archive.open_archive(folder.parent)
    if packed is not None and not (folder / files.STATE).exists():
        places.append(packed / config.id)
    runs = (Run(place) for place in places if (place / files.SUMMARY).exists())
    return next((run for run in runs if run.config == config), None)


def stored(experiment: str, config: RunConfig, root: Path = CHECKPOINTS) -> Run:
    """The finished run of `config`; raises UserError if there is none."""
    run = find(experiment, config, root)
    if run is None:
        raise UserError(f"{Path(root) / experiment / config.id}: not a finished run; train it with python -m lib.train")
    return run
