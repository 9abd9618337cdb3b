"""Figures: curves against steps on a logarithmic axis, train solid and held-out dashed, saved as reproducible SVG."""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Image, display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from lib import stats
from lib.config import RunConfig
from lib.machine import ROOT
from lib.runs import Run, medians
from lib.tracker import Row, write_atomically

FIGURES = ROOT / "figures"
# Okabe and Ito's colours, which stay apart for colour-blind readers
BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#666666"
COLORS = (BLUE, ORANGE, GREEN, RED, PURPLE, GREY)


def style() -> None:
    """Set matplotlib up: the same look in every notebook, and the same bytes from the same data."""
    mpl.rcParams.update(
        {
            "figure.constrained_layout.use": True,
            "figure.figsize": (6.4, 3.2),
            "figure.dpi": 130,
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 9,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.grid": True,
            "grid.color": "#dddddd",
            "grid.linewidth": 0.5,
            "lines.linewidth": 1.6,
            "legend.frameon": False,
            "svg.fonttype": "path",
            "svg.hashsalt": "a small transformer groks",
        }
    )


def save(figure: Figure, name: str) -> Path:
    """Write figures/<name>.svg; the same figure gives the same bytes."""
    FIGURES.mkdir(exist_ok=True)
    path = FIGURES / f"{name}.svg"
    figure.draw_without_rendering()  # makes the layout, whose last bits depend on what was drawn before
    figure.set_layout_engine("none")
    for axes in figure.axes:
        axes.set_position(np.round(axes.get_position(original=True).bounds, 6))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    write_atomically(path, buffer.getvalue())
    return path


def png(figure: Figure) -> bytes:
    """A figure as a picture for a widget; pyplot forgets it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    plt.close(figure)
    return buffer.getvalue()


def label_line(axes: Axes, x: float, y: float, text: str, color: str, **where: Any) -> None:
    """Text beside a line, in its colour: read faster than a legend."""
    options = {"xytext": (4, 0), "textcoords": "offset points", "va": "center"} | where
    axes.annotate(text, (x, y), color=color, **options)


def log_steps(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.margins(x=0.02)
    axes.set_xlabel("optimiser steps")


def accuracy_axis(axes: Axes) -> None:
    axes.set_ylim(-0.03, 1.05)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylabel("accuracy")


def curve(axes: Axes, run: Run, metric: str, above: float = 0.0, **style: Any) -> None:
    """One metric of a run, less `above`, against steps; without step 0, which a log axis cannot show."""
    steps, values = run.metrics["step"], run.metrics[metric] - above
    shown = steps > 0
    axes.plot(steps[shown], values[shown], **style)


def learning_curves(axes: Axes, runs: Sequence[Run], metric: str, color: str) -> None:
    """`metric` ("acc" or "loss") of runs that differ by seed: each thin, their median thick; train solid, test dashed.

    The median is drawn where all runs were evaluated.
    """
    for split, dash in (("train", "-"), ("test", "--")):
        for run in runs:
            thin = {"lw": 0.5, "alpha": 0.6} if len(runs) > 1 else {}
            curve(axes, run, f"{split}_{metric}", color=color, ls=dash, **thin)
        if len(runs) > 1:
            steps = sorted(set.intersection(*(set(run.metrics["step"]) for run in runs)) - {0})
            at = [[np.flatnonzero(run.metrics["step"] == step)[0] for step in steps] for run in runs]
            values = [run.metrics[f"{split}_{metric}"][rows] for run, rows in zip(runs, at, strict=True)]
            axes.plot(steps, np.median(values, axis=0), color=color, ls=dash)


def finish_grid(figure: Figure, panels: np.ndarray, colors: dict[str, str]) -> None:
    """Scales and labels of a grid of learning curves, accuracy above and loss below, and one legend for all of it."""
    accuracy, loss = panels.reshape(2, -1)
    for axes in accuracy:
        accuracy_axis(axes)
    for axes in loss:
        axes.set(ylabel="loss (nats)", yscale="log")
    for axes in [*accuracy[1:], *loss[1:]]:
        axes.set_ylabel("")
    names = [Line2D([], [], color=color, label=name) for name, color in colors.items()]
    figure.legend(handles=names + split_handles(GREY), loc="outside upper center", ncols=len(names) + 2)


def split_handles(color: str, held_out: str = "test") -> list[Line2D]:
    """A legend's lines for the two splits of a curve."""
    return [Line2D([], [], color=color, ls=dash, label=name) for name, dash in (("train", "-"), (held_out, "--"))]


def mark(axes: Axes, step: float, text: str, side: str, height: float = 0.3) -> None:
    """A vertical line at a step, with its name on the left or the right, at some share of the axes' height."""
    axes.axvline(step, color=GREY, lw=0.8, ls=":")
    place = {"xycoords": axes.get_xaxis_transform(), "textcoords": "offset points", "va": "center", "fontsize": 8}
    x, align = (-3, "right") if side == "left" else (3, "left")
    axes.annotate(text, (step, height), xytext=(x, 0), ha=align, color=GREY, rotation=90, **place)


class LiveCurve:
    """A figure that grows while a run trains: pass it as `on_eval` to `run_live`.

    In a notebook the picture is redrawn after each evaluation; executed headlessly, its last state stays.
    """

    def __init__(self, config: RunConfig, metric: str = "acc") -> None:
        self.config, self.metric = config, metric
        self.rows: list[Row] = []
        self.handle = display(self.picture(), display_id=True)

    def __call__(self, row: Row) -> None:
        self.rows.append(row)
        if len(self.rows) % 5 == 0 or row["step"] == self.config.train.max_steps:
            self.handle.update(self.picture())

    def picture(self) -> Image:
        return Image(png(growing(self.rows, self.metric)))


def growing(rows: Sequence[Row], metric: str) -> Figure:
    """`metric` ("acc" or "loss") of a run that is being trained, as far as it is.

    Without pyplot, which is not made for threads, and in a notebook shows all figures that it knows of.
    """
    figure = Figure(figsize=(5.6, 2.6))
    axes = figure.subplots()
    for split, dash, color in (("train", "-", BLUE), ("val", "--", GREEN), ("test", "--", RED)):
        points = [(row["step"], row[f"{split}_{metric}"]) for row in rows if row["step"]]
        points = [point for point in points if point[1] is not None]
        if points:
            axes.plot(*zip(*points, strict=True), color=color, ls=dash, label=split)
    steps = [int(row["step"]) for row in rows]
    if metric == "acc":
        accuracy_axis(axes)
        for split, find, text, side in (
            ("train", stats.steps_to_fit, "T_fit", "left"),
            ("test", stats.steps_to_grok, "T_grok", "right"),
        ):
            at = find(steps, [row[f"{split}_acc"] or 0.0 for row in rows])
            if at is not None:
                mark(axes, at, f"{text} = {at}", side)
    else:
        axes.set_yscale("log")
        axes.set_ylabel("loss (nats per token)")
    axes.set_xlabel("optimiser steps")
    axes.set_title(f"step {steps[-1]:,}" if rows else "waiting for the first evaluation")
    if not rows:
        axes.set_xticks([])
    if axes.lines:
        axes.legend(loc="best")
    return figure


def lesson(axes: Axes, runs: Sequence[Run], names: Sequence[float], title: str, floors: Sequence[float] = ()) -> None:
    """Training loss of runs that differ in one setting, labelled by its value, each with its floor dotted."""
    for run, name, color in zip(runs, names, COLORS, strict=False):
        curve(axes, run, "train_loss", color=color, label=f"{name:g}")
    for floor, color in zip(floors, COLORS, strict=False):
        axes.axhline(floor, color=color, ls=":", lw=1)
    log_steps(axes)
    axes.set(ylim=(0, 4.2), ylabel="loss (nats per token)")
    axes.set_title(title)
    axes.legend(handlelength=1.2, ncols=2, loc="upper right")


def grokking(column: Sequence[Axes], runs: Sequence[Run], title: str, color: str) -> None:
    """Accuracy (above) and loss (below) of runs that differ by seed; from the median T_fit to T_grok shaded."""
    middle = medians(runs)
    for axes, metric in zip(column, ("acc", "loss"), strict=True):
        learning_curves(axes, runs, metric, color)
        log_steps(axes)
        for name, text, side in (("t_fit", "T_fit", "left"), ("t_grok", "T_grok", "right")):
            if middle[name] is not None:
                mark(axes, middle[name], text, side)
        if None not in (middle["t_fit"], middle["t_grok"]):
            axes.axvspan(middle["t_fit"], middle["t_grok"], color=color, alpha=0.08, lw=0)
    accuracy_axis(column[0])
    column[1].set(ylabel="loss (nats)", yscale="log")
    column[0].set_xlabel("")
    column[0].set_title(title)
    column[0].legend(handles=split_handles(color), loc="upper left")


def live_lesson(runs: Iterable[Run], names: Sequence[float]) -> list[Run]:
    """Runs as they come, in a picture to which each adds its curve."""
    shown: list[Run] = []
    handle = None
    for run in runs:
        shown.append(run)
        figure, axes = plt.subplots(figsize=(4.2, 2.4))
        lesson(axes, shown, names, f"live, {len(shown)} of {len(names)}")
        plt.close(figure)
        if handle is None:
            handle = display(figure, display_id=True)
        else:
            handle.update(figure)
    return shown


def finish_control(panels: Sequence[Axes]) -> None:
    """Scales and titles of the control: accuracy on the left, norms on the right."""
    for axes in panels:
        log_steps(axes)
    panels[0].set_title("starter's network, paper's initial weights")
    panels[1].set(ylabel="norm of the weight matrices", yscale="log")
    panels[1].set_title("dots: T_grok")
    panels[1].legend(bbox_to_anchor=(1, 1))


def table(axes: Axes, rows: np.ndarray, p: int) -> None:
    """The p x p table of answers, a down and b across; equations that are not in `rows` (n, 3) stay white."""
    cells = np.full((p, p), np.nan)
    cells[rows[:, 0], rows[:, 1]] = rows[:, 2]
    axes.imshow(cells, cmap="viridis", vmin=0, vmax=p - 1, interpolation="nearest")
    axes.grid(False)
    axes.set(xlabel="b", ylabel="a", xticks=[0, p - 1], yticks=[0, p - 1])
