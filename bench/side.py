"""One side of a comparison: a process that trains with the `lib` on its PYTHONPATH, a piece at a time.

It reads commands from its standard input, a line each, and answers each with a number. So two sides take turns in one
run. It also knows the modules of commit 4c82c37, with whose times others are compared.
"""

import json
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

try:
    from lib.experiments.ablation import RECIPE
    from lib.experiments.presets import DIVISION
    from lib.support.machine import keep_freed_memory
    from lib.training.datasets import load_data
    from lib.training.trainer import Trainer
except ImportError:  # as the modules were called then
    from lib.ablation import RECIPE
    from lib.datasets import load_data
    from lib.machine import keep_freed_memory
    from lib.presets import DIVISION

    from lib import evaluate
    from lib.train import Trainer

FOLDER = tempfile.TemporaryDirectory(prefix="bench-")  # of all runs, until the process ends
CONFIGS = {"float32": DIVISION, "bfloat16": DIVISION.override({"train.precision": "bfloat16"}), "recipe": RECIPE}


def new_trainer(config: Any) -> Any:
    return Trainer(config, load_data(config), Path(tempfile.mkdtemp(dir=FOLDER.name)))


@cache
def trainer(name: str) -> Any:
    return new_trainer(CONFIGS[name])


def timed(call: Any) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def step(name: str) -> float:
    """Seconds of a training step."""
    return timed(getattr(trainer(name), "loop", trainer(name)).take_step)


def plain() -> float:
    """Seconds of a step as nanoGPT takes it: logits at all positions, and a loss that ignores all but the last."""
    own = trainer("float32")
    model, batch = own.model, own.data.splits["train"][own.loop.batch_rows()]

    def step() -> None:
        own.optimizer.zero_grad()
        F.cross_entropy(model(batch.tokens).flatten(0, 1), batch.targets.flatten()).backward()
        own.optimizer.step(own.loop.step)

    return timed(step)


def evaluation(name: str) -> float:
    """Seconds of an evaluation of all splits."""
    own = trainer(name)
    if hasattr(own, "loop"):
        return timed(lambda: [own.objective.evaluate(split) for split in own.data.splits.values()])
    with evaluate.precision(own.config.train, "cpu"):
        splits = own.data.splits.values()
        return timed(lambda: [own.reading(evaluate.evaluate, split, own.scoring) for split in splits])


def until_grokked(seed: str) -> float:
    """Seconds of the recipe from the first step to T_grok, evaluations and saved states included."""
    own, times = new_trainer(RECIPE.override({"seed": int(seed), "train.go_on": 1.0})), {}
    own.run(lambda row: times.update({row["step"]: time.perf_counter()}))
    return times[json.loads((own.folder / "summary.json").read_text())["t_grok"]] - times[0]


def peak_memory() -> float:
    """MB at most, of a process that trains the recipe."""
    own = new_trainer(RECIPE.override({"train.max_steps": 30}))
    own.run()
    return json.loads((own.folder / "summary.json").read_text())["peak_memory_mb"]


COMMANDS = {command.__name__: command for command in (step, plain, evaluation, until_grokked, peak_memory)}

if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    keep_freed_memory()
    for line in sys.stdin:
        name, *arguments = line.split()
        print(COMMANDS[name](*arguments), flush=True)
