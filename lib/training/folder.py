"""A run folder: the names of its files, and how each is read back. A file that is damaged is named, never half used."""

import csv
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lib.config import RunConfig, TrainConfig
from lib.support.errors import UserError

if TYPE_CHECKING:  # a list of runs is to come without waiting for torch
    from lib.objective import Row

Folder = Path | zipfile.Path  # on the disk, or in the archive of a sweep

CONFIG, ENVIRONMENT, SUMMARY = "config.json", "env.json", "summary.json"
METRICS, LOG = "metrics.csv", "train.log"
ANSWERS, SAMPLES = "answers.npz", "samples.json"
WEIGHTS, STATE = "model.safetensors", "state.pt"
SNAPSHOTS = "weights"  # the folder of the weights at some steps, <step>.safetensors, in float16

GROWTH = 1.5  # how far apart the steps are at which answers and weights on the way are kept
AGAIN = "delete the folder of the run to train it again"  # what helps where a file is damaged
# what reading raises where the content is at fault; a file that may not be read, or a want of memory, is another matter
FAULTS = (
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    EOFError,
    RuntimeError,
    csv.Error,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
)
LOST = (*FAULTS, FileNotFoundError)  # of a file that must be there; KeyError: it is not in the archive

OF_THE_SPLITS = ("train_loss", "train_acc", "val_loss", "val_acc", "test_loss", "test_acc")
COLUMNS = ("step", "time_s", *OF_THE_SPLITS, "lr", "grad_norm", "weight_norm", "matrix_norm")
OF_A_CORPUS = ("tokens", "train_ppl", "val_ppl", "test_ppl")  # further columns


def columns(config: RunConfig) -> tuple[str, ...]:
    """The columns of a run's metrics.csv."""
    return COLUMNS + (OF_A_CORPUS if config.data.task == "corpus" else ())


def line(cells: Iterable[str]) -> str:
    return ",".join(cells) + "\n"


def damaged(path: Folder, reason: object, remedy: str = AGAIN) -> UserError:
    """The error, in one line, of a file that is not as it was written."""
    return UserError(f"{path}: damaged ({' '.join(str(reason).split())[:150]}); restore it, or {remedy}")


def read_text(path: Folder, remedy: str = AGAIN) -> str:
    """The text of a file of ours. Raises UserError if it is missing or damaged, OSError if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except LOST as error:
        raise damaged(path, getattr(error, "strerror", None) or error, remedy) from None


def read_json(path: Folder, kind: type = dict, remedy: str = AGAIN) -> Any:
    """The dictionary, or list, in a file of ours. Raises UserError if it is missing or damaged."""
    try:
        content = json.loads(read_text(path, remedy))
    except json.JSONDecodeError as error:
        raise damaged(path, error, remedy) from None
    if not isinstance(content, kind):
        raise damaged(path, f"must hold a {kind.__name__}", remedy)
    return content


def read_config(path: Folder) -> RunConfig:
    """The config stored at `path`. Raises UserError if it is missing or damaged."""
    stored = read_json(path)
    try:
        return RunConfig.from_dict(stored)
    except UserError as error:
        raise damaged(path, error) from None


def read_metrics(folder: Folder) -> "list[Row]":
    """The rows of a run's metrics.csv, without a last line that was cut off; none if the file is missing or damaged."""
    known = COLUMNS + OF_A_CORPUS
    try:
        text = (folder / METRICS).read_text(encoding="utf-8")
        header, *rows = csv.reader(text[: text.rfind("\n") + 1].splitlines())
        if not {*header} <= {*known}:
            return []
        numbers = ([float(cell) if cell else None for cell in cells] for cells in rows)
        return [dict.fromkeys(known) | dict(zip(header, row, strict=True)) for row in numbers]
    except LOST:
        return []


def check_whole(path: Folder, found: Iterable[float], wanted: Iterable[float], end: float) -> None:
    """Raises UserError if the steps found in a file lack one of those up to `end` that must be there."""
    if missing := {step for step in wanted if step <= end} - {*found}:
        raise damaged(path, f"step {min(missing):.0f} is missing")


def answers_file(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The content of an answers.npz; `arrays` as `read_answers` gives them."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def read_answers(path: Folder) -> dict[str, np.ndarray]:
    """The arrays of an answers.npz: `step` (K,), and for each split the answers at those steps (K, N), int16.

    Raises UserError if the file is missing or damaged.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes())) as arrays:
            answers = dict(arrays)
        if sorted(answers) == ["step", "test", "train", "val"] and len({*map(len, answers.values())}) == 1:
            return answers
        reason: object = "must hold answers for each step"
    except LOST as error:
        reason = error
    raise damaged(path, reason)


def read_samples(path: Folder) -> dict[int, str]:
    """The text of a samples.json at each step. Raises UserError if the file is missing or damaged."""
    try:
        return {sample["step"]: sample["text"] for sample in read_json(path, list)}
    except (KeyError, TypeError) as error:
        raise damaged(path, error) from None


def spaced_steps(config: TrainConfig) -> set[int]:
    """Some of the evaluations: the first after 0, and each at least GROWTH times as late as the one before."""
    steps: list[int] = []
    for step in sorted(config.evaluation_steps())[1:]:
        if not steps or step >= GROWTH * steps[-1]:
            steps.append(step)
    return set(steps)


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
