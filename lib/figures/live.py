"""Curves that grow while a run trains."""

from collections.abc import Iterable, Sequence

import matplotlib.pyplot as plt
from IPython.display import DisplayHandle, display
from matplotlib.figure import Figure

from lib.config import RunConfig
from lib.figures.curves import lesson
from lib.figures.style import BLUE, GREEN, RED, accuracy_axis, log_axis, mark
from lib.objective import Row, steps_to_fit, steps_to_grok
from lib.runs.run import Run

MILESTONES = ("train", steps_to_fit, "T_fit", "left"), ("test", steps_to_grok, "T_grok", "right")


class LiveCurve:
    """A figure that grows while a run trains: pass it as `show` to `lib.runs.live.run_live`.

    In a notebook the picture is redrawn after each evaluation; executed headlessly, its last state stays.
    """

    def __init__(self, config: RunConfig, metric: str = "acc") -> None:
        self.config, self.metric = config, metric
        self.rows: list[Row] = []
        self.handle = display(growing(self.rows, self.metric), display_id=True)

    def __call__(self, row: Row) -> None:
        self.rows.append(row)
        if len(self.rows) % 5 == 0 or row["step"] == self.config.train.max_steps:
            self.handle.update(growing(self.rows, self.metric))


def growing(rows: Sequence[Row], metric: str) -> Figure:
    """`metric` ("acc" or "loss") of a run that is being trained, as far as it is.

    Without pyplot, which is not made for threads, and in a notebook shows all figures that it knows of.
    """
    figure = Figure(figsize=(5.6, 2.6))
    axes = figure.subplots()
    for split, dash, color in (("train", "-", BLUE), ("val", "--", GREEN), ("test", "--", RED)):
        points = [(row["step"], row[f"{split}_{metric}"]) for row in rows if row["step"]]
        if points := [(step, value) for step, value in points if value is not None]:
            axes.plot(*zip(*points, strict=True), color=color, ls=dash, label=split)
    steps = [int(row["step"]) for row in rows]
    if metric == "acc":
        accuracy_axis(axes)
        for split, find, name, side in MILESTONES:
            at = find(steps, [row[f"{split}_acc"] or 0.0 for row in rows])
            mark(axes, at, f"{name} = {at}", side)
    else:
        log_axis(axes, "y")
        axes.set_ylabel("loss (nats per token)")
    axes.set(xlabel="optimiser steps", title=f"step {steps[-1]:,}" if rows else "waiting for the first evaluation")
    if not rows:
        axes.set_xticks([])
    if axes.lines:
        axes.legend(loc="best")
    return figure


def live_lesson(runs: Iterable[Run], names: Sequence[float]) -> list[Run]:
    """Runs as they come, in a picture to which each adds its curve."""
    shown: list[Run] = []
    handle = DisplayHandle()
    for run in runs:
        shown.append(run)
        figure, axes = plt.subplots(figsize=(4.2, 2.4))
        lesson(axes, shown, names, f"live, {len(shown)} of {len(names)}")
        plt.close(figure)
        (handle.display if len(shown) == 1 else handle.update)(figure)
    return shown
