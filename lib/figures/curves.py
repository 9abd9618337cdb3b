"""Learning curves of stored runs against optimiser steps: train solid, test dashed, one colour per setting."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lib.figures.style import COLORS, GREY, accuracy_axis, log_axis, log_steps, plain
from lib.runs.run import Run


def curve(axes: Axes, run: Run, metric: str, above: float = 0.0, **style: Any) -> None:
    """One metric of a run, less `above`, against steps; without step 0, which a log axis cannot show."""
    steps, values = run.metrics["step"], run.metrics[metric] - above
    shown = steps > 0
    axes.plot(steps[shown], values[shown], **style)


def lesson(axes: Axes, runs: Sequence[Run], names: Sequence[float], title: str, floors: Sequence[float] = ()) -> None:
    """Training loss of runs that differ in one setting, labelled by its value, each with its floor dotted."""
    for run, name, color in zip(runs, names, COLORS, strict=False):
        curve(axes, run, "train_loss", color=color, label=plain(name))
    for floor, color in zip(floors, COLORS, strict=False):
        axes.axhline(floor, color=color, ls=":", lw=1)
    log_steps(axes)
    axes.set(ylim=(0, 5.2), ylabel="loss (nats per token)", title=title)
    axes.legend(handlelength=1.2, ncols=2, loc="upper right")


def learning_curves(axes: Axes, runs: Sequence[Run], metric: str, color: str) -> None:
    """`metric` ("acc" or "loss") of runs that differ by seed: each thin, their median thick; train solid, test dashed.

    The median is drawn where all runs were evaluated.
    """
    for split, dash in (("train", "-"), ("test", "--")):
        for run in runs:
            thin = {"lw": 0.5, "alpha": 0.6} if len(runs) > 1 else {}
            curve(axes, run, f"{split}_{metric}", color=color, ls=dash, label=f"_{split}", **thin)
        if len(runs) > 1:
            steps = sorted(set.intersection(*(set(run.metrics["step"]) for run in runs)) - {0})
            values = [run.metrics[f"{split}_{metric}"][np.isin(run.metrics["step"], steps)] for run in runs]
            axes.plot(steps, np.median(values, axis=0), color=color, ls=dash, label=f"_{split}")


def finish_grid(figure: Figure, panels: np.ndarray, colors: dict[str, str]) -> None:
    """Scales and labels of a grid of learning curves, accuracy above and loss below, and one legend for all of it."""
    accuracy, loss = panels.reshape(2, -1)
    for axes in accuracy:
        accuracy_axis(axes)
    for axes in loss:
        log_axis(axes, "y")
        axes.set_ylabel("loss (nats)")
    for axes in [*accuracy[1:], *loss[1:]]:
        axes.set_ylabel("")
    names = [Line2D([], [], color=color, label=name) for name, color in colors.items()]
    figure.legend(handles=names + split_handles(GREY), loc="outside upper center", ncols=len(names) + 2)


def split_handles(color: str, held_out: str = "test") -> list[Line2D]:
    """A legend's lines for the two splits of a curve."""
    return [Line2D([], [], color=color, ls=dash, label=name) for name, dash in (("train", "-"), (held_out, "--"))]
