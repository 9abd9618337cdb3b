"""How long a training step takes, by kind: the quickest of twenty, timed in turns on a machine with nothing else to do.

The seconds that a run records hold what else the machine did meanwhile. `python -m bench.step_times` times them anew.
"""

import json
from functools import cache

from lib.config import RunConfig
from lib.experiments.presets import Changes
from lib.runs.run import Run
from lib.support.files import ROOT

STEP_TIMES = ROOT / "lib" / "experiments" / "step_times.json"
# a step computes as much whatever these are
CHANGES_NO_STEP: Changes = {"seed": 0, "data.split_seed": 0, "optim.lr": 1.0, "optim.warmup_steps": 0}
CHANGES_NO_STEP |= {"train.max_steps": 10_000, "train.eval_every": 10, "train.go_on": 1.0, "train.prompt": ""}


def kind(config: RunConfig) -> str:
    """The same for runs whose steps compute as much."""
    return config.override(CHANGES_NO_STEP).id


@cache
def recorded() -> dict[str, float]:
    return json.loads(STEP_TIMES.read_text(encoding="utf-8"))["seconds"]


def step_seconds(run: Run) -> float:
    """Seconds of a training step on one core, evaluations apart; as the run recorded it, if its kind was not timed."""
    return recorded().get(kind(run.config)) or run.summary["seconds"] / run.summary["steps"]
