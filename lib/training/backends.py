"""Weights & Biases and TensorBoard, if the user asks for them: each gets the rows that the tracker writes.

A back end takes all rows of one run, also those from before the run was resumed. `finish`: the run has ended. `close`:
the session ends, whether the run is finished or not, and leaves no process behind.
"""

import json
import os
import shutil
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lib.config import RunConfig
from lib.support.errors import UserError, check_package, first_line, suggestion

PROJECT = "grokking"  # at W&B
FOLDERS = ("wandb", "tensorboard")  # what they write in a run folder
Row = Mapping[str, float | None]
Names = Sequence[str]  # of back ends


class TensorBoard:
    """Scalars under their names in metrics.csv, in `<run>/tensorboard`; config and summary as texts.

    Each session writes the file anew, so that the file never holds a row that was lost with a killed process.
    TensorBoard's "relative" time axis counts seconds in training steps.
    """

    def __init__(self, folder: Path, config: RunConfig, rows: Sequence[Row]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        place = folder / "tensorboard"
        for old in place.glob("events.out.tfevents.*"):
            old.unlink()
        # purge: a TensorBoard that is watching must forget what it has read of the old file
        self.writer = SummaryWriter(str(place), purge_step=0 if rows else None)
        self.begun = time.time() - (rows[-1]["time_s"] if rows else 0)
        self.text("config", config.flat())

    def log(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step, walltime=self.begun + values["time_s"])
        self.writer.flush()

    def finish(self, summary: dict[str, Any]) -> None:
        self.text("summary", summary)

    def close(self) -> None:
        self.writer.close()

    def text(self, name: str, content: dict[str, Any]) -> None:
        indented = json.dumps(content, indent=4).replace("\n", "\n    ")  # in Markdown: as it stands
        self.writer.add_text(name, f"    {indented}", 0)


class WandB:
    """A run of the W&B project, with the config's id. Offline in `<run>/wandb`, unless WANDB_MODE says otherwise.

    W&B takes each step once and in order. Which steps it has is asked of its server, or offline of its files. It writes
    them every 15 seconds: later rows are lost with a killed process, and are passed on again when the run goes on.
    """

    def __init__(self, folder: Path, config: RunConfig, rows: Sequence[Row]) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # else even offline it reports on itself
        import wandb

        self.wandb = wandb
        if not rows:  # a run that begins replaces the one before it
            shutil.rmtree(folder / "wandb", ignore_errors=True)
        try:
            self.run = self.begin(folder, config, resumed=bool(rows))
            self.last = self.run.starting_step - 1
            if self.run.offline:
                kept = (record for path in (folder / "wandb").glob("*/*.wandb") for record in records(path))
                self.last = max((record.history.step.num for record in kept if record.HasField("history")), default=-1)
        except Exception:
            self.end_process()
            raise
        for axis in ("time_s", "tokens"):  # to draw the others along; as curves of their own they tell nothing
            self.run.define_metric(axis, hidden=True)
        self.exit_code = 1  # until it is finished

    def begin(self, folder: Path, config: RunConfig, resumed: bool) -> Any:
        quiet = {"silent": True, "console": "off"}
        # of code and machine, env.json tells what a result depends on
        bare = {"disable_git": True, "save_code": False, "x_disable_stats": True, "x_disable_meta": True}
        patience = {"init_timeout": 30, "finish_timeout": 60}  # seconds that a lost connection may hold up a run
        if self.wandb.run is None:
            self.wandb.setup(self.wandb.Settings(**quiet))  # for what it says before the run has settings
        return self.wandb.init(
            project=PROJECT,
            group=folder.parent.name,
            id=config.id,
            name=config.id,
            dir=str(folder),
            config=config.flat(),
            mode=os.environ.get("WANDB_MODE") or "offline",
            resume="allow" if resumed else None,  # else the server, too, replaces the one before it
            reinit="create_new",  # a run that the caller may have open stays as it is
            settings=self.wandb.Settings(**quiet, **bare, **patience),
        )

    def log(self, step: int, values: dict[str, float]) -> None:
        if step > self.last:
            self.run.log(values, step=step)

    def finish(self, summary: dict[str, Any]) -> None:
        self.run.summary.update(summary)
        self.exit_code = 0

    def close(self) -> None:
        self.run.finish(exit_code=self.exit_code)
        self.end_process()

    def end_process(self) -> None:
        """End the process behind it, unless the caller has a run open that needs it too."""
        if self.wandb.run is None:
            self.wandb.teardown()


def records(path: Path) -> Iterator[Any]:
    """The records (protobuf) of a .wandb file, as far as it was written: LevelDB's log format, 7 bytes further on."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, whole, at = path.read_bytes(), b"", 7
    while len(content) >= at + 7:
        if 32768 - at % 32768 < 7:  # no room for a header: the rest of the block is padding
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        at += 7 + length
        if at > len(content):
            return
        whole += content[at - length : at]
        if kind in (1, 4):  # whole, or a last part
            yield Record.FromString(whole)
            whole = b""


KNOWN: dict[str, type] = {"wandb": WandB, "tensorboard": TensorBoard}


def check_backends(names: Iterable[str]) -> None:
    """Raises UserError if there is no such back end, or its package is not installed."""
    for name in names:
        if name not in KNOWN:
            raise UserError(f"tracker = {name!r}: must be one of {', '.join(KNOWN)}{suggestion(name, KNOWN)}")
        check_package(f"tracker = {name!r}", name)


class Backends:
    """The back ends of one run, by name. A back end that fails is noted in train.log and dropped; the run goes on."""

    def __init__(self, names: Iterable[str], folder: Path, config: RunConfig, note: Callable[[str], None]) -> None:
        check_backends(names)
        self.names, self.folder, self.config, self.note = dict.fromkeys(names), folder, config, note
        self.working: dict[str, Any] = {}

    @contextmanager
    def opened(self, rows: Sequence[Row]) -> Iterator[None]:
        """Opens the back ends with `rows`, and closes them however the run ends."""
        for name in self.names:
            with self.noting_failure(name):
                self.working[name] = KNOWN[name](self.folder, self.config, rows)
        for row in rows:
            self.log(row)
        try:
            yield
        finally:
            self.each(lambda backend: backend.close())
            self.working = {}

    def log(self, row: Row) -> None:
        """Pass a row on, without its empty columns."""
        values = {name: value for name, value in row.items() if value is not None and name != "step"}
        self.each(lambda backend: backend.log(int(row["step"]), values))

    def finish(self, summary: dict[str, Any]) -> None:
        self.each(lambda backend: backend.finish(summary))

    def each(self, call: Callable[[Any], None]) -> None:
        for name, backend in list(self.working.items()):
            with self.noting_failure(name):
                call(backend)

    @contextmanager
    def noting_failure(self, name: str) -> Iterator[None]:
        try:
            yield
        except (Exception, SystemExit) as error:  # whatever it is, the run matters more; W&B may even exit
            said = first_line(error)
            self.note(f"{name} failed, the run goes on without it: {type(error).__name__}: {said}")
            with suppress(Exception, SystemExit):  # KeyError: it never began
                self.working.pop(name).close()
