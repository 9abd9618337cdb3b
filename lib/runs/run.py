"""A finished run, opened from its folder or from a sweep's archive."""

import csv
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lib.config import RunConfig
from lib.language.networks import Network
from lib.language.tokenizers import Tokenizer
from lib.objective import PATIENCE, SOLVED
from lib.support.errors import UserError
from lib.training import folder
from lib.training.folder import ANSWERS, CONFIG, LOG, METRICS, SAMPLES, SNAPSHOTS, SUMMARY, Folder
from lib.training.weights import load_weights


class Run:
    """A finished run, in a folder or in a sweep's archive. Raises UserError if it is not finished, or damaged."""

    def __init__(self, path: Folder) -> None:
        self.path = path
        if not (path / SUMMARY).exists():
            raise UserError(f"{path}: not a finished run: it has no {SUMMARY}")
        self.summary, config = self.json(SUMMARY), self.json(CONFIG)
        try:
            self.config = RunConfig.from_dict(config)
        except UserError as error:
            raise UserError(f"{path / 'config.json'}: {error}") from None
        try:
            rows = folder.read_metrics(path)
        except (OSError, ValueError, TypeError, csv.Error):
            rows = []
        whole = rows and (rows[-1]["step"] == self.summary.get("steps") or "diverged_at" in self.summary)
        if not whole or "t_grok" not in self.summary:
            raise UserError(f"{path}: {METRICS} or {SUMMARY} is damaged; train the run again with --fresh")
        names = folder.columns(self.config)  # a cell left empty is nan
        self.metrics = {name: np.array([row[name] for row in rows], float) for name in names}

    def json(self, name: str) -> dict[str, Any]:
        try:
            return folder.read_json(self.path / name)
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{self.path / name}: cannot be read ({error}); train the run again with --fresh") from None

    @cached_property
    def log(self) -> str:
        return (self.path / LOG).read_text(encoding="utf-8")

    @property
    def t_fit(self) -> int | None:
        return self.summary["t_fit"]

    @property
    def t_grok(self) -> int | None:
        return self.summary["t_grok"]

    @property
    def delay(self) -> int | None:
        """T_grok - T_fit in steps; None if the run does not grok."""
        return None if self.t_grok is None or self.t_fit is None else self.t_grok - self.t_fit

    @property
    def diverged_at(self) -> int | None:
        return self.summary.get("diverged_at")

    @property
    def divergence(self) -> str | None:
        """The step, learning rate and gradient norm of a divergence, in words; None if the run did not diverge."""
        return folder.divergence(self.summary)

    def results(self) -> dict[str, Any]:
        """What the report tells of the run: its summary, seed and delay, and how steady it is once it has grokked."""
        after = self.metrics["test_acc"][self.metrics["step"] >= (self.t_grok or np.inf)][PATIENCE:]
        steadiness = {
            "lowest_after_grok": after.min() if len(after) else None,
            "share_below_after_grok": (after < SOLVED).mean() if len(after) else None,
        }
        return self.summary | {"seed": self.config.seed, "delay": self.delay} | steadiness

    @cached_property
    def answers(self) -> dict[str, np.ndarray]:
        """`step` (K,) and for each split the answers (K, N) at those steps.

        Raises UserError unless the run was trained with train.keep_answers.
        """
        if not (self.path / ANSWERS).exists():
            raise UserError(f"{self.path}: keeps no answers; train it with --train.keep_answers true")
        return folder.read_answers((self.path / ANSWERS).read_bytes())

    @cached_property
    def samples(self) -> dict[int, str]:
        """Step -> how the network continued train.prompt then. Raises UserError unless the run had one."""
        return {sample["step"]: sample["text"] for sample in self.json(SAMPLES)}

    @property
    def snapshots(self) -> dict[int, Path]:
        """Step -> weights file. Raises UserError unless the run was trained with train.keep_weights."""
        kept = self.path / SNAPSHOTS
        files = {int(path.stem): path for path in kept.glob("*.safetensors")} if isinstance(kept, Path) else {}
        if not files:
            raise UserError(f"{self.path}: keeps no weights on the way; train it again with --train.keep_weights true")
        return dict(sorted(files.items()))

    @cached_property
    def _loaded(self) -> tuple[Network, Tokenizer, RunConfig]:
        if not isinstance(self.path, Path):
            raise UserError(f"{self.path}: an archived run keeps no weights; train it again with --checkpoints FOLDER")
        return load_weights(self.path)

    def load(self) -> tuple[Network, Tokenizer, RunConfig]:
        """Model, tokenizer and config, from the stored weights. Raises UserError if the run keeps none."""
        return self._loaded
