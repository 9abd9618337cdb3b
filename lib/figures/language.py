"""Pictures of language models: perplexity against epochs and seconds, learning rates, and where memory goes."""

from collections.abc import Callable, Mapping
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lib.analysis import comparison
from lib.analysis.cells import Cells
from lib.analysis.step_times import step_seconds
from lib.figures.curves import split_handles
from lib.figures.style import BLUE, COLORS, GREEN, GREY, ORANGE, PURPLE, RED, log_axis
from lib.runs.run import Run

NAMES = {"train": "train", "val": "validation"}
AXIS: dict[str, tuple[str, Callable[[Run], np.ndarray]]] = {  # its label, and the evaluations' places on it
    "epochs": ("epochs", comparison.epochs),
    "seconds": ("seconds of training steps", lambda run: run.metrics["step"] * step_seconds(run)),
    "steps": ("optimiser steps", lambda run: run.metrics["step"]),
}
# of the twelve experiments: a colour has one meaning, and a dashed line shows the one that it covers
LOOKS = {"adam": (BLUE, "-"), "adamw": (ORANGE, (0, (3, 2))), "sgd": (GREEN, "-"), "momentum": (RED, (0, (3, 2)))}
for name, color in (("LSTM", PURPLE), ("GPT", "black")):
    LOOKS |= {f"{name} {n}": (color, dash) for n, dash in ((1, "-"), (2, (0, (3, 2))), (4, (0, (1, 1))))}


def perplexity_axis(axes: Axes, split: str) -> None:
    log_axis(axes, "y")
    axes.set_ylabel(f"{NAMES[split]}\nperplexity")


def curves(axes: Axes, cells: Cells, split: str, along: str, metric: str = "ppl") -> None:
    """One metric of some cells; each seed thin, their median thick."""
    label, places = AXIS[along]
    looks = zip(COLORS, cycle(("-", (0, (3, 2)))), strict=False)
    for (name, runs), look in zip(cells.items(), looks, strict=False):
        color, dash = LOOKS.get(name, look)
        ys = [run.metrics[f"{split}_{metric}"] for run in runs]
        for run, y in zip(runs, ys, strict=True):
            axes.plot(places(run), y, color=color, lw=0.5, alpha=0.5)
        n = min(map(len, ys))  # one that diverged has fewer
        axes.plot(places(runs[0])[:n], np.median([y[:n] for y in ys], axis=0), color=color, ls=dash, label=name)
    axes.set_xlabel(label)
    axes.locator_params(axis="x", integer=True)


def dotted_floor(axes: Axes, run: Run, split: str) -> None:
    """The unigram model's perplexity, which a network that does not read context cannot beat."""
    axes.axhline(comparison.floor(run, split), color=GREY, ls=":", lw=1, label="_unigram")


def grid(columns: Mapping[str, Cells], along: str) -> Figure:
    """Perplexity of several groups of cells, a column each, train above and validation below; the floor dotted."""
    size = (1.875 * len(columns) + 0.75, 2.8)
    figure, panels = plt.subplots(len(NAMES), len(columns), figsize=size, sharey=True, squeeze=False)
    for row, split in zip(panels, NAMES, strict=True):
        for axes, cells in zip(row, columns.values(), strict=True):
            curves(axes, cells, split, along)
            dotted_floor(axes, next(iter(cells.values()))[0], split)
            perplexity_axis(axes, split)
            axes.label_outer(remove_inner_ticks=False)
    for above, below, title in zip(*panels, columns, strict=True):
        above.set_title(title)
        below.legend(handlelength=1.6, columnspacing=1, ncols=2, loc="upper center", bbox_to_anchor=(0.45, -0.48))
    return figure


def rates(axes: Axes, cells: Mapping[str, Mapping[float, Run]], title: str) -> None:
    """Best validation perplexity against the learning rate, the lowest circled; a run that diverged has no point."""
    told = []
    for (name, tried), color in zip(cells.items(), COLORS, strict=False):
        ended = {lr: run for lr, run in tried.items() if run.diverged_at is None}
        points = sorted((lr, run.metrics["val_ppl"][comparison.best(run)]) for lr, run in ended.items())
        axes.plot(*zip(*points, strict=True), color=color, marker="o", ms=3, label=name)
        lr, lowest = min(points, key=lambda point: point[1])
        axes.plot(lr, lowest, color=color, marker="o", ms=8, mfc="none")
        told.append(f"{name}: lowest {lowest:,.0f} at {lr:g}, {points[0][1]:,.0f} at {points[0][0]:g}")
    log_axis(axes, "x")
    axes.set(xlabel="learning rate", title=title, label="; ".join(told))
    perplexity_axis(axes, "val")
    dotted_floor(axes, next(iter(next(iter(cells.values())).values())), "val")


def by_step_and_clock(cells: Cells) -> Figure:
    """Validation loss twice: against optimiser steps and against seconds."""
    figure, panels = plt.subplots(1, 2, figsize=(6.38, 1.8), sharey=True)
    for axes, along in zip(panels, ("steps", "seconds"), strict=True):
        curves(axes, cells, "val", along, "loss")
    panels[0].set_ylabel("validation loss (nats)")
    panels[0].legend(handlelength=1.2)
    return figure


def budget_bars(axes: Axes, budgets: Mapping[str, Mapping[str, int]]) -> None:
    """What the memory of a training step is made of, a bar per setting; a diamond for the most that is held at once."""
    left = np.zeros(len(budgets))
    parts = [part for part in next(iter(budgets.values())) if part != "peak"]
    for part, color in zip(parts, COLORS, strict=False):
        width = np.array([budget[part] for budget in budgets.values()]) / 1e9
        axes.barh(list(budgets), width, left=left, color=color, label=part, height=0.6)
        left += width
    peaks = [budget["peak"] / 1e9 for budget in budgets.values()]
    axes.plot(peaks, list(budgets), "D", color="k", ms=4, label="at once, at most")
    for name, peak, end in zip(budgets, peaks, np.maximum(peaks, left), strict=True):
        axes.text(end, name, f"  {peak:.1f}", va="center")
    axes.set_xlabel("GB")
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.1)
    largest = {name: max(parts, key=budget.get) for name, budget in budgets.items()}
    told = (
        f"{name}: {peak:.1f} GB at once, the largest part {largest[name]}"
        for name, peak in zip(budgets, peaks, strict=True)
    )
    axes.set_label("; ".join(told))


def train_and_val(axes: Axes, run: Run) -> None:
    """Loss of one run on the train and the validation split, with the unigram floor."""
    for split, dash in (("train", "-"), ("val", "--")):
        axes.plot(run.metrics["step"], run.metrics[f"{split}_loss"], color="black", ls=dash)
    floor = axes.axhline(run.summary["unigram_loss"]["val"], color=GREY, ls=":", lw=1, label="unigram")
    axes.legend(handles=[*split_handles("black", "validation"), floor])
    axes.set(xlabel="optimiser steps", ylabel="loss (nats per token)")
