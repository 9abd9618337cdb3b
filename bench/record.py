"""What bench/gpu.py writes as it goes: a line per measurement in gpu.csv, its log, and the run folders as one file."""

import csv
import io
import math
import shutil
import time
import zipfile
from datetime import date
from pathlib import Path

import torch

from lib.support.files import append, write_atomically
from lib.training.folder import STATE, WEIGHTS

COLUMNS = ("row", "what", "value", "unit", "device", "torch", "date")
TABLE, LOG, RUNS = "gpu.csv", "gpu.log", "runs.zip"


class Record:
    """The table and the log in a folder. Whatever is added is on the disk at once."""

    def __init__(self, folder: Path, device: str) -> None:
        self.folder, self.begun = folder, time.monotonic()
        self.device = torch.cuda.get_device_name() if device == "cuda" else device
        path = folder / TABLE
        if not path.exists():
            self.write(COLUMNS)
        with open(path, encoding="utf-8", newline="") as file:
            self.lines = list(csv.DictReader(file))

    def write(self, cells: tuple[str, ...]) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(cells)
        append(self.folder / TABLE, line.getvalue())

    def add(self, row: str, what: str, value: float | None, unit: str) -> None:
        """Append a measurement; a value that is not known stays empty."""
        shown = "" if value is None or math.isnan(value) else f"{value:.6g}"
        device = "any" if row == "account" else self.device
        cells = (row, what, shown, unit, device, torch.__version__, date.today().isoformat())
        self.write(cells)
        self.lines.append(dict(zip(COLUMNS, cells, strict=True)))
        self.say(f"row {row} · {what} · {shown or '?'} {unit}")

    def has(self, row: str, what: str) -> bool:
        """Whether it was measured on such a device, now or in an earlier call."""
        devices = ("any", self.device)
        return any((x["row"], x["what"]) == (row, what) and x["device"] in devices for x in self.lines)

    def values(self, row: str, what: str) -> dict[str, float]:
        """Device -> what was measured on it last."""
        found = [x for x in self.lines if (x["row"], x["what"]) == (row, what) and x["value"]]
        return {x["device"]: float(x["value"]) for x in found}

    def say(self, text: str) -> None:
        """A line in the log and on the screen, after the seconds of this call."""
        line = f"{time.monotonic() - self.begun:7.1f} s  {text}"
        append(self.folder / LOG, line + "\n")
        print(line, flush=True)

    def pack(self) -> None:
        """Write all run folders, without weights and states, into one file: few files travel more easily."""
        files = [path for path in self.folder.glob("*/*/*") if path.is_file() and path.suffix != ".tmp"]
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(files):
                if path.name not in (STATE, WEIGHTS):
                    archive.write(path, path.relative_to(self.folder))
        write_atomically(self.folder / RUNS, buffer.getvalue())


def take_up(folder: Path, earlier: Path) -> None:
    """Put into the folder what earlier calls left there, or brought back to `earlier`; nothing is overwritten."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (TABLE, LOG, RUNS):
        if (earlier / name).exists() and not (folder / name).exists():
            shutil.copy(earlier / name, folder / name)
    if (folder / RUNS).exists():
        with zipfile.ZipFile(folder / RUNS) as archive:
            there = {name for name in archive.namelist() if (folder / name).parent.exists()}
            archive.extractall(folder, [name for name in archive.namelist() if name not in there])
