"""For bench/gpu.py: its table and log, runs that end in time, and training steps on random tokens."""

import csv
import gc
import math
import time
import zipfile
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lib.config import RunConfig
from lib.data import Dataset
from lib.language.chunks import CorpusObjective
from lib.language.corpora import Windows
from lib.language.networks import Network
from lib.language.tokenizers import IdTokenizer
from lib.loop import Loop
from lib.methods import lion
from lib.optim import Optimizer
from lib.support import machine
from lib.support.files import append, sole_use
from lib.training import datasets
from lib.training.folder import STATE
from lib.training.trainer import Interrupted, Trainer

COLUMNS = ("row", "what", "value", "unit", "device", "torch", "date")
SMALL, LARGE = 2**26, 2**31  # bytes of a state: saved at every evaluation; too long to write, so never saved
WARM_UP = 3  # steps


class Record:
    """gpu.csv and gpu.log in a folder. Whatever is added is on the disk at once."""

    def __init__(self, folder: Path, device: str) -> None:
        self.folder, self.begun = folder, time.monotonic()
        self.device = torch.cuda.get_device_name() if device == "cuda" else device
        self.table = folder / "gpu.csv"
        if not self.table.exists():
            append(self.table, ",".join(COLUMNS) + "\n")
        self.lines = list(csv.DictReader(self.table.read_text(encoding="utf-8").splitlines()))

    def add(self, row: str, what: str, value: float | None, unit: str) -> None:
        """Append a measurement; a value that is not known stays empty."""
        shown = "" if value is None or math.isnan(value) else f"{value:.6g}"
        cells = (row, what.replace(",", ";"), shown, unit, self.device, torch.__version__, date.today().isoformat())
        append(self.table, ",".join(cells) + "\n")
        self.lines.append(dict(zip(COLUMNS, cells, strict=True)))
        self.say(f"row {row}: {what}: {shown or '?'} {unit}")

    def has(self, row: str, what: str) -> bool:
        """Whether it was measured on this kind of device, now or in an earlier call."""
        return any((x["row"], x["what"], x["device"]) == (row, what, self.device) for x in self.lines)

    def say(self, text: str) -> None:
        """A line in the log and on the screen, after the seconds of this call."""
        line = f"{time.monotonic() - self.begun:7.1f} s  {text}"
        append(self.folder / "gpu.log", line + "\n")
        print(line, flush=True)

    def pack(self) -> None:
        """Write all run folders, without states, into runs.zip: one file travels more easily than hundreds."""
        with zipfile.ZipFile(self.folder / "runs.tmp", "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(self.folder.glob("*/*/*")):
                if path.name != STATE and path.suffix != ".tmp":
                    archive.write(path, path.relative_to(self.folder))
        (self.folder / "runs.tmp").replace(self.folder / "runs.zip")


class Timed(Trainer):
    """A run that stops at `deadline`, a moment of time.monotonic, and then measures its validation loss in nats.

    No weights are kept. A state above SMALL is saved when the run stops, one above LARGE not at all.
    """

    deadline, is_over, loss_at_stop = math.inf, False, math.nan

    def on_step(self) -> None:
        if time.monotonic() >= self.deadline and self.loop.step < self.loop.last_step:
            self.is_over, self.stopped = True, lambda: True
            self.loss_at_stop = self.objective.evaluate(self.data.splits["val"])[0]
        super().on_step()

    def save_state(self) -> None:
        if 3 * sum(p.nbytes for p in self.optimizer.parameters) < (LARGE if self.is_over else SMALL):
            super().save_state()

    def save_weights(self, *_: Any) -> None:
        """None are kept."""


def run_until(deadline: float, config: RunConfig, folder: Path, device: str) -> Timed:
    """A run that went on from what the folder holds, to its end or to the deadline. Raises UserError as `train`."""
    prepare(config, device)
    with sole_use(folder):
        trainer = Timed(config, datasets.load_data(config), folder, device)
        trainer.deadline = deadline
        try:
            trainer.run()
        except Interrupted:
            if not trainer.is_over:  # Ctrl-C: all is to stop
                raise
    return trainer


def prepare(config: RunConfig, device: str) -> None:
    """Gives unused memory back to the driver; what stays in float32 is multiplied as in `lib.train`."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
    tf32 = device == "cuda" and config.train.precision != "float32"
    torch.set_float32_matmul_precision("high" if tf32 else "highest")


def memory(device: str) -> dict[str, float]:
    """MB. The driver counts the whole card now: the context, and what torch has reserved and not given back."""
    if device != "cuda":
        return {"peak memory of the process": machine.peak_memory_mb(device)}
    free, total = torch.cuda.mem_get_info()
    peaks = {"peak allocated": torch.cuda.max_memory_allocated(), "peak reserved": torch.cuda.max_memory_reserved()}
    return {what: size / 1e6 for what, size in (peaks | {"memory by the driver": total - free}).items()}


def steps(config: RunConfig, network: Network, device: str, n: int, make: Any = lion.make) -> dict[str, float]:
    """Tokens/s, and MB of memory, of n training steps on random tokens, after some to warm up."""
    prepare(config, device)
    network.checkpointing = config.train.activation_checkpointing
    vocab_size, width, rows = len(network.output_weight), config.data.window, config.train.batch_size
    ids = np.random.default_rng(0).integers(vocab_size, size=8 * rows * width + 1)
    data = Dataset(IdTokenizer(vocab_size), {"train": Windows(ids, width, 1, device)})
    objective = CorpusObjective(network, "all", config.train)
    loop = Loop(objective, data, Optimizer(network, config, device, make), config.train, config.seed)
    for step in range(WARM_UP + n):
        if step == WARM_UP:
            machine.start_memory_mb(device)  # the peak is counted anew
            loop.check_losses()  # waits for the device
            begun = time.perf_counter()
        loop.take_step()
    loop.check_losses()
    speed = n * rows * width / (time.perf_counter() - begun)
    loop.optimizer.zero_grad()
    return {"tokens/s": speed} | memory(device)
