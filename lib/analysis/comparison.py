"""Language models compared: perplexity at the best evaluation, over seeds, and costs; the lowest possible loss."""

import math
import tomllib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lib.analysis.cells import Cells
from lib.analysis.statistics import median_and_range
from lib.analysis.step_times import step_seconds
from lib.data import IGNORE, Batch
from lib.runs.run import Run
from lib.support.files import ROOT

SPLITS = ("train", "val", "test")
# what the assignments' own reports tell, with where it is from
PUBLISHED = tomllib.loads((ROOT / "lib" / "experiments" / "published.toml").read_text(encoding="utf-8"))


def best(run: Run) -> int:
    """The place, among a run's evaluations, of the one with the lowest validation loss."""
    return int(np.nanargmin(run.metrics["val_loss"]))


def epochs(run: Run) -> np.ndarray:
    """The evaluations' places in epochs: passes over the windows of the train split."""
    data = run.config.data
    windows = (run.summary["tokens"]["train"] - 1) // data.window
    return run.metrics["tokens"] / (windows * data.window)


def floor(run: Run, split: str) -> float:
    """The perplexity of a unigram model on a split."""
    return math.exp(run.summary["unigram_loss"][split])


def loss_floor(batch: Batch) -> float:
    """The lowest mean loss (nats per scored token) that any causal model can reach on these sequences.

    Sequences that agree up to a position but not in what follows leave the entropy of what follows; it is zero where
    every prefix has one continuation, as in a single sequence.
    """
    following: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    for tokens, targets in zip(batch.tokens.tolist(), batch.targets.tolist(), strict=True):
        for t, target in enumerate(targets):
            if target != IGNORE:
                following[tuple(tokens[: t + 1])][target] += 1
    nll = sum(-n * math.log(n / counts.total()) for counts in following.values() for n in counts.values())
    return nll / sum(counts.total() for counts in following.values())


def bits_per_byte(run: Run, split: str) -> float:
    """The loss at the best evaluation in bits per byte of text, which does not depend on the tokens' sizes."""
    loss = run.metrics[f"{split}_loss"][best(run)]
    return loss / math.log(2) / run.summary["bytes_per_token"][split]


def at_best(runs: Sequence[Run]) -> dict[str, Any]:
    """Median and range, over runs that differ by seed, of each metric at the best evaluation.

    `seconds` of all training steps, and `tokens_per_s`, as steps were timed (lib/analysis/step_times.py).
    """
    splits = [split for split in SPLITS if split in runs[0].summary["tokens"]]
    told: dict[str, Any] = {"n": len(runs)}
    for split in splits:
        losses = [run.metrics[f"{split}_loss"][best(run)] for run in runs]
        told[f"{split}_loss"] = median_and_range(losses)
        told[f"{split}_ppl"] = median_and_range(np.exp(losses))
        told[f"{split}_bpb"] = median_and_range([bits_per_byte(run, split) for run in runs])
        told[f"{split}_floor"] = floor(runs[0], split)
    told["best_epoch"] = median_and_range([epochs(run)[best(run)] for run in runs])
    told["final_train_loss"] = median_and_range([run.metrics["train_loss"][-1] for run in runs])
    told["final_val_ppl"] = median_and_range([run.metrics["val_ppl"][-1] for run in runs])
    config, step = runs[0].config, step_seconds(runs[0])
    told["seconds"] = runs[0].summary["steps"] * step
    told["tokens_per_s"] = config.train.batch_size * config.data.window / step
    return told | {name: runs[0].summary[name] for name in ("n_params", "n_learnable")}


def all_at_best(cells: Cells) -> dict[str, dict[str, Any]]:
    return {name: at_best(runs) for name, runs in cells.items()}


def as_published(perplexity: float, n_windows: int, batch_size: int) -> float:
    """What a perplexity becomes if the last, shorter batch of an epoch is averaged as if it were full."""
    return perplexity ** (n_windows / (math.ceil(n_windows / batch_size) * batch_size))


def corrected(published: float, n_windows: int, batch_size: int) -> float:
    """The perplexity of which `as_published` makes `published`."""
    return published ** (math.ceil(n_windows / batch_size) * batch_size / n_windows)


def chosen(cells: Mapping[str, Sequence[Run]]) -> str:
    """The name of the cell whose runs have the lowest median validation loss at their best."""
    return min(cells, key=lambda name: np.median([run.metrics["val_loss"][best(run)] for run in cells[name]]))


def ranged(told: Sequence[float], digits: int = 1) -> str:
    """ "80.1 (79.7–80.4)"; the value alone if all are the same."""
    middle, low, high = (f"{value:,.{digits}f}" for value in told)
    return middle if low == high else f"{middle} ({low}–{high})"
