"""A run that ends in time: trained into its run folder until it is finished, or until a moment."""

import gc
import math
import time
from pathlib import Path
from typing import Any

import torch

from lib.config import RunConfig
from lib.objective import Row
from lib.support import machine
from lib.support.files import sole_use
from lib.training import datasets
from lib.training.trainer import Interrupted, Trainer

SMALL, LARGE = 2**26, 2**31  # bytes of state: saved at every evaluation; and never, as writing it takes too long


class Timed(Trainer):
    """A run that stops at `deadline`, a moment of time.monotonic, and measures its validation loss then.

    Weights are not kept. A state above SMALL is saved when the run stops, one above LARGE not at all.
    """

    deadline, is_over = math.inf, False
    loss_at_stop: float | None = None  # of the validation split, nats per token

    def on_step(self) -> None:
        if time.monotonic() >= self.deadline and self.loop.step < self.loop.last_step:
            self.is_over, self.stopped = True, lambda: True
            self.loss_at_stop = self.objective.evaluate(self.data.splits["val"])[0]
        super().on_step()

    def save_state(self) -> None:
        size = 3 * sum(p.nbytes for p in self.optimizer.parameters)  # weights and two moments
        if size < (LARGE if self.is_over else SMALL):
            super().save_state()

    def save_weights(self, *args: Any) -> None:
        """None are kept."""

    @property
    def last_row(self) -> Row:
        """The metrics of the last evaluation."""
        return self.tracker.rows[-1]

    @property
    def tokens_per_s(self) -> float:
        return self.tokens_seen() / self.tracker.clock.seconds

    @property
    def steps_per_s(self) -> float:
        return self.loop.step / self.tracker.clock.seconds


def run_until(deadline: float, config: RunConfig, folder: Path, device: str) -> Timed:
    """The trainer of a run that went on from what the folder holds, to its end or to the deadline.

    Raises UserError if the run cannot work, or its corpus is not to be had.
    """
    forget_memory(device)
    multiply_as(config, device)
    with sole_use(folder):
        trainer = Timed(config, datasets.load_data(config), folder, device)
        trainer.deadline = deadline
        try:
            trainer.run()
        except Interrupted:
            if not trainer.is_over:  # somebody wants all to stop
                raise
    return trainer


def forget_memory(device: str) -> None:
    """Gives back what is not in use, so that the driver counts the next run alone."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def multiply_as(config: RunConfig, device: str) -> None:
    """Has what stays in float32 multiplied as in a run of `lib.train`: as TF32 beside 16-bit products on a GPU."""
    tf32 = device == "cuda" and config.train.precision != "float32"
    torch.set_float32_matmul_precision("high" if tf32 else "highest")


def memory(device: str) -> dict[str, float]:
    """MB. On a GPU: the most that was allocated, the most that torch reserved, and what the driver counts now.

    The driver counts the whole card: the context, and all that torch has reserved and not given back.
    """
    if device != "cuda":
        return {"peak memory of the process": machine.peak_memory_mb(device)}
    free, total = torch.cuda.mem_get_info()
    allocated, reserved = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
    named = {"peak allocated": allocated, "peak reserved": reserved, "memory by the driver": total - free}
    return {name: size / 1e6 for name, size in named.items()}
