"""ExperimentTracker: what a run writes while it trains, by step and by wall-clock."""

from pathlib import Path
from typing import Any

import numpy as np

from lib.config import RunConfig
from lib.objective import Row
from lib.support import machine, processes
from lib.support.errors import UserError
from lib.support.files import append, remove, write_atomically, write_json
from lib.training import folder as files
from lib.training.backends import Backends, Names


class ExperimentTracker:
    """Owns a run folder: config.json and env.json at the start, a row of metrics.csv per evaluation, train.log.

    `clock` counts the seconds in training steps, over all sessions of the run; evaluations are left out. The back ends
    named in `backends` get the rows as well (lib/training/backends.py).
    """

    def __init__(self, folder: Path, config: RunConfig, device: str, backends: Names = ()) -> None:
        self.config, self.folder, self.columns = config, folder, files.columns(config)
        self.rows: list[Row] = []
        self.clock = processes.Clock()
        self.backends = Backends(backends, folder, config, self.note)
        stored = folder / files.CONFIG
        if stored.exists() and files.read_config(stored) != config:
            raise UserError(f"{folder}: holds a run of another config; choose another folder")
        try:
            write_json(stored, config.to_dict())
            remove(folder / files.SUMMARY)  # a run in training is not finished
            if not (folder / files.ENVIRONMENT).exists():
                write_json(folder / files.ENVIRONMENT, machine.environment(device))
        except OSError as error:
            raise UserError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from None

    def rewind(self, step: int, time_s: float) -> None:
        """Go back to a saved state: keep the rows up to `step`, and go on counting from `time_s`.

        Raises UserError if a file that grows with the run is missing or damaged.
        """
        path = self.folder / files.METRICS
        self.rows = [row for row in files.read_metrics(self.folder) if row["step"] <= step]
        files.check_whole(path, [row["step"] for row in self.rows], self.config.train.evaluation_steps(), step)
        for name, read in ((files.ANSWERS, files.read_answers), (files.SAMPLES, files.read_samples)):
            if (self.folder / name).exists():
                read(self.folder / name)  # a damaged one is told of now, not hours later
        self.clock.counted = time_s
        write_atomically(path, files.line(self.columns) + "".join(map(self.line, self.rows)))

    def add_row(self, metrics: Row) -> Row:
        """Append a row; columns not given stay empty. Returns the row as it can be read back: to seven digits."""
        metrics = metrics | {"time_s": round(self.clock.seconds, 3)}
        row = {name: None if metrics.get(name) is None else float(f"{metrics[name]:.7g}") for name in self.columns}
        if not self.rows:
            write_atomically(self.folder / files.METRICS, files.line(self.columns))
        append(self.folder / files.METRICS, self.line(row))
        self.rows.append(row)
        self.backends.log(row)
        return row

    def line(self, row: Row) -> str:
        return files.line("" if row[name] is None else f"{row[name]:.7g}" for name in self.columns)

    def keep_answers(self, step: int, answers: dict[str, np.ndarray]) -> None:
        """Add the answers to each split's sequences, (N,) int16, to answers.npz: arrays (steps, N), and `step`."""
        path = self.folder / files.ANSWERS
        kept = files.read_answers(path) if path.exists() else {}
        before = kept.get("step", np.empty(0, int)) < step  # a resumed run may come to this step again
        now = {"step": np.array(step)} | answers
        grown = {name: np.stack([*kept[name][before], row]) if kept else row[None] for name, row in now.items()}
        write_atomically(path, files.answers_file(grown))

    def keep_sample(self, step: int, text: str) -> None:
        """Add a text that the network wrote at a step to samples.json."""
        path = self.folder / files.SAMPLES
        kept = files.read_samples(path) if path.exists() else {}
        before = {each: sample for each, sample in kept.items() if each < step}  # a resumed run may come here again
        write_json(path, [{"step": each, "text": sample} for each, sample in (before | {step: text}).items()])

    def note(self, text: str) -> None:
        """A line in train.log, after the seconds trained so far."""
        append(self.folder / files.LOG, f"{self.clock.seconds:9.1f} s  {text}\n")

    def finish(self, summary: dict[str, Any], keep_state: bool) -> None:
        """Write summary.json, which marks the run as finished."""
        write_json(self.folder / files.SUMMARY, summary)
        self.backends.finish(summary)
        if not keep_state:
            remove(self.folder / files.STATE)
