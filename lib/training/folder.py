"""A run folder: the names of its files, and how each is read back."""

import csv
import io
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lib.config import RunConfig
from lib.support.errors import UserError

if TYPE_CHECKING:  # a list of runs is to come without waiting for torch
    from lib.objective import Row

Folder = Path | zipfile.Path  # on the disk, or in the archive of a sweep

CONFIG, ENVIRONMENT, SUMMARY = "config.json", "env.json", "summary.json"
METRICS, LOG = "metrics.csv", "train.log"
ANSWERS, SAMPLES = "answers.npz", "samples.json"
WEIGHTS, STATE = "model.safetensors", "state.pt"
SNAPSHOTS = "weights"  # the folder of the weights at some steps, <step>.safetensors, in float16

OF_THE_SPLITS = ("train_loss", "train_acc", "val_loss", "val_acc", "test_loss", "test_acc")
COLUMNS = ("step", "time_s", *OF_THE_SPLITS, "lr", "grad_norm", "weight_norm", "matrix_norm")
OF_A_CORPUS = ("tokens", "train_ppl", "val_ppl", "test_ppl")  # further columns


def columns(config: RunConfig) -> tuple[str, ...]:
    """The columns of a run's metrics.csv."""
    return COLUMNS + (OF_A_CORPUS if config.data.task == "corpus" else ())


def line(cells: Iterable[str]) -> str:
    return ",".join(cells) + "\n"


def read_json(path: Folder) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def read_config(path: Path) -> RunConfig:
    """The config stored at `path`. Raises UserError, naming the file, if it cannot be read."""
    try:
        return RunConfig.from_dict(read_json(path))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: {error}") from None


def read_metrics(folder: Folder) -> "list[Row]":
    """The rows of a run's metrics.csv, without a last line that was cut off; none if the file is missing or damaged."""
    try:
        text = (folder / METRICS).read_text(encoding="utf-8")
        rows = csv.DictReader(text[: text.rfind("\n") + 1].splitlines())
        return [{k: float(row[k]) if row.get(k) else None for k in COLUMNS + OF_A_CORPUS} for row in rows]
    except (OSError, ValueError, TypeError, csv.Error):
        return []


def read_answers(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of an answers.npz: `step` (K,), and for each split the answers at those steps (K, N), int16."""
    with np.load(io.BytesIO(content)) as arrays:
        return dict(arrays)


def divergence(summary: dict[str, Any]) -> str | None:
    """What the summary of a run says of its divergence; None if the run did not diverge."""
    step = summary.get("diverged_at")
    return None if step is None else summary.get("divergence", f"the loss of step {step} is not finite")


def at_chance(config: RunConfig, row: "Row", unigram_loss: dict[str, float] | None = None) -> bool:
    """Whether a network does no better on its own train split than guessing: it has learned nothing.

    Equations: less than three times a guess's accuracy, 1/p, and less than half. A corpus: no better than a unigram.
    """
    if config.data.task == "corpus":
        return bool(unigram_loss) and row["train_loss"] >= unigram_loss["train"]
    return config.data.task == "arithmetic" and row["train_acc"] < min(0.5, 3 / config.data.p)


def describe(row: "Row") -> str:
    """A row of metrics in words."""
    parts = [f"step {int(row['step']):,}"]
    for split in ("train", "val", "test"):
        if row[f"{split}_loss"] is not None:
            parts.append(f"{split} loss {row[f'{split}_loss']:.3g}, accuracy {row[f'{split}_acc']:.1%}")
            if row.get(f"{split}_ppl"):
                parts[-1] += f", perplexity {row[f'{split}_ppl']:.4g}"
    return " · ".join(parts)
