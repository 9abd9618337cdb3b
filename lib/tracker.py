"""ExperimentTracker: what a run writes while it trains, by step and by wall-clock."""

import csv
import io
import json
import os
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lib.backends import Backends
from lib.config import RunConfig
from lib.fields import UserError
from lib.machine import environment

COLUMNS = (
    "step",
    "time_s",
    *("train_loss", "train_acc", "val_loss", "val_acc", "test_loss", "test_acc"),
    *("lr", "grad_norm", "weight_norm", "matrix_norm"),
)
OF_A_CORPUS = ("tokens", "train_ppl", "val_ppl", "test_ppl")  # further columns
Row = dict[str, float | None]


class ExperimentTracker:
    """Owns a run folder: config.json and env.json at the start, a row of metrics.csv per evaluation, train.log.

    `time_s` counts the seconds spent in training steps, over all sessions of the run; evaluation is left out.
    `backends` are the names of those that get the rows as well (lib.backends).
    """

    def __init__(self, folder: Path, config: RunConfig, device: str, backends: Sequence[str] = ()) -> None:
        self.folder = folder
        self.columns = columns(config)
        self.rows: list[Row] = []
        self.time_s, self._started = 0.0, None
        self.backends = Backends(backends, folder, config, self.note)
        stored = folder / "config.json"
        if stored.exists() and read_config(stored) != config:
            raise UserError(f"{folder}: holds a run of another config; choose another folder")
        try:
            write_json(stored, config.to_dict())
            (folder / "summary.json").unlink(missing_ok=True)  # what is being trained is not finished
            if not (folder / "env.json").exists():
                write_json(folder / "env.json", environment(device))
        except OSError as error:
            raise UserError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from None

    def rewind(self, step: int, time_s: float) -> None:
        """Go back to a saved state: keep the rows up to `step`, and go on counting from `time_s`.

        Raises UserError if none is there, or they are damaged.
        """
        path = self.folder / "metrics.csv"
        try:
            self.rows = [row for row in read_metrics(self.folder) if row["step"] <= step]
        except (OSError, ValueError, TypeError, csv.Error):
            self.rows = []
        if not self.rows:
            raise UserError(f"{path}: damaged or not there; delete the folder to begin the run again")
        self.time_s = time_s
        lines = map(line, [list(self.columns), *map(self.values, self.rows)])
        write_atomically(path, "".join(lines))

    def start(self) -> None:
        """Let the clock run."""
        self._started = time.perf_counter()

    def pause(self) -> None:
        """Stop the clock (for an evaluation, or a picture)."""
        if self._started is not None:
            self.time_s += time.perf_counter() - self._started
        self._started = None

    def log(self, **metrics: float | None) -> Row:
        """Append a row; columns not given stay empty. Returns it as it can be read back: to seven digits."""
        metrics["time_s"] = round(self.time_s, 3)
        row = {name: None if metrics.get(name) is None else float(f"{metrics[name]:.7g}") for name in self.columns}
        with open(self.folder / "metrics.csv", "a" if self.rows else "w", encoding="utf-8") as file:
            head = "" if self.rows else line(list(self.columns))
            file.write(head + line(self.values(row)))
        self.rows.append(row)
        self.backends.log(row)
        return row

    def values(self, row: Row) -> list[str]:
        return ["" if row[name] is None else f"{row[name]:.7g}" for name in self.columns]

    def keep_answers(self, step: int, answers: dict[str, np.ndarray]) -> None:
        """Add the answers to each split's sequences, (N,) int16, to answers.npz: arrays (steps, N), and `step`."""
        path = self.folder / "answers.npz"
        kept = read_answers(path.read_bytes()) if path.exists() else {}
        before = kept.get("step", np.empty(0, int)) < step  # a run that goes on may come by here again
        now = {"step": np.array(step)} | answers
        grown = {name: np.stack([*kept[name][before], row]) if kept else row[None] for name, row in now.items()}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **grown)
        write_atomically(path, buffer.getvalue())

    def keep_sample(self, step: int, text: str) -> None:
        """Add what the network says at a step to samples.json."""
        path = self.folder / "samples.json"
        kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        before = [sample for sample in kept if sample["step"] < step]  # a run that goes on may come by here again
        write_json(path, [*before, {"step": step, "text": text}])

    def note(self, text: str) -> None:
        """A line in train.log, after the seconds trained so far."""
        with open(self.folder / "train.log", "a", encoding="utf-8") as file:
            file.write(f"{self.time_s:9.1f} s  {text}\n")

    def finish(self, summary: dict[str, Any], keep_state: bool) -> None:
        """Write summary.json, which marks the run as finished."""
        write_json(self.folder / "summary.json", summary)
        self.backends.finish(summary)
        if not keep_state:
            (self.folder / "state.pt").unlink(missing_ok=True)


def columns(config: RunConfig) -> tuple[str, ...]:
    """Those of a run's metrics.csv."""
    return COLUMNS + (OF_A_CORPUS if config.data.task == "corpus" else ())


def line(cells: list[str]) -> str:
    return ",".join(cells) + "\n"


def read_metrics(folder: Path | zipfile.Path) -> list[Row]:
    """The rows of a run's metrics.csv, none if there is none; a last line cut off in mid-write is dropped.

    Raises ValueError, TypeError or csv.Error if it is damaged.
    """
    path = folder / "metrics.csv"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    complete = text[: text.rfind("\n") + 1].splitlines()
    names = COLUMNS + OF_A_CORPUS
    return [{name: float(row[name]) if row.get(name) else None for name in names} for row in csv.DictReader(complete)]


def read_answers(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of an answers.npz: `step` (K,), and for each split the answers at those steps (K, N), int16."""
    with np.load(io.BytesIO(content)) as arrays:
        return dict(arrays)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write beside the file, then put it in place: readers see the old or the new, never a part."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(content.encode() if isinstance(content, str) else content)
    os.replace(temporary, path)


def write_json(path: Path, content: Any) -> None:
    write_atomically(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def read_config(path: Path) -> RunConfig:
    """The config stored at `path`. Raises UserError, naming the file, if it cannot be read."""
    try:
        return RunConfig.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: {error}") from None


def describe(row: Row) -> str:
    """A row of metrics as a person reads it."""
    parts = [f"step {int(row['step']):,}"]
    for split in ("train", "val", "test"):
        if row[f"{split}_loss"] is not None:
            parts.append(f"{split} loss {row[f'{split}_loss']:.3g}, accuracy {row[f'{split}_acc']:.1%}")
            if row.get(f"{split}_ppl"):
                parts[-1] += f", perplexity {row[f'{split}_ppl']:.4g}"
    return " · ".join(parts)
