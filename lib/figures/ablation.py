"""Pictures of an ablation: cells of runs that differ by seed, one cell beside the other."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from IPython.display import Markdown, display
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

from lib.analysis import statistics
from lib.analysis.cells import MILESTONES, Cells, censored, medians, outcome_table
from lib.figures.curves import curve
from lib.figures.style import BLUE, COLORS, GREY, RED, accuracy_axis, heatmap, log_axis, log_steps, save
from lib.runs.run import Run

NEVER = 1e9  # steps, for the colour of what no run gets to
MARKS = {  # of a run's milestones
    "T_fit": {"marker": "o", "s": 8, "fc": "white", "ec": GREY},
    "T_grok (bar: median)": {"marker": "o", "s": 8, "fc": BLUE, "ec": BLUE},
    "not by then": {"marker": ">", "s": 14, "fc": "white", "ec": RED},
}


def middle(runs: Sequence[Run]) -> Run:
    """The run in the middle by T_grok (those that do not grok last, then by how far they got)."""
    return sorted(runs, key=lambda run: (run.t_grok or np.inf, -run.summary["test_acc"]))[len(runs) // 2]


def factor(cells: Cells, name: str, two: Cells | None = None) -> Figure:
    """One factor: test accuracy against steps on the left, T_fit and T_grok of every run on the right.

    The `middle` run of a cell is thick. `two`: the same cells with two layers, on the right alone.
    """
    rows = with_two_layers(cells, two)
    figure, (left, right) = plt.subplots(1, 2, figsize=(5.86, max(1.9, 0.7 + 0.18 * len(rows))))
    colors = accuracies(left, cells)
    left.set_title(f"{name}, 1 layer" if two else name)
    milestones(right, dict(enumerate(rows.values())))
    right.set_label("; ".join(f"{row}: {fate(runs)}" for row, runs in rows.items()))
    if two:
        right.axhline(len(cells) - 0.5, color="#bbbbbb", lw=0.6)
    steps_axis(right)
    right.set(yticks=range(len(rows)), yticklabels=list(rows), ylim=(len(rows) - 0.5, -0.5))
    right.legend(loc="lower center", bbox_to_anchor=(0.4, 1), ncols=3, handlelength=1)
    place = {"transform": right.get_yaxis_transform(), "clip_on": False}
    dashes = {"marker": "_", "lw": 1.3, "c": colors}  # as a legend's lines
    right.scatter([-0.05] * len(cells), range(len(cells)), 80, **dashes, **place)
    right.tick_params(axis="y", length=0, pad=14)
    return figure


def accuracies(axes: Axes, cells: Cells) -> Sequence[Any]:
    """Test accuracy against steps, the `middle` run of each cell thick: the colours of the cells."""
    colors = sns.color_palette("viridis", len(cells))
    for (name, runs), color in zip(cells.items(), colors, strict=True):
        for run in runs:
            thin = {} if run is middle(runs) else {"lw": 0.5, "alpha": 0.4}
            curve(axes, run, "test_acc", color=color, label=f"_{name}", **thin)
    steps_axis(axes)
    accuracy_axis(axes)
    axes.set_ylabel("test accuracy")
    return colors


def panels(factors: Mapping[str, Cells]) -> Figure:
    """The `accuracies` of six factors, a panel for each."""
    figure, axes = plt.subplots(2, 3, figsize=(6.37, 3.6), sharex=True, sharey=True)
    for panel, (name, cells) in zip(axes.flat, factors.items(), strict=True):
        colors = dict(zip(cells, accuracies(panel, cells), strict=True))
        lines = [Line2D([], [], color=color, label=cell) for cell, color in colors.items()]
        panel.legend(handles=lines, loc="upper left", handlelength=1)
        panel.set_title(name)
        panel.label_outer()
    return figure


def with_two_layers(cells: Cells, two: Cells | None) -> Cells:
    return {**cells, **{f"{label}, 2 layers": runs for label, runs in (two or {}).items()}}


def show(cells: Cells, name: str, two: Cells | None = None, saved_as: str = "") -> Markdown:
    """Draw a factor, `saved_as` a figure of the report or not, and return its table, for a notebook's cell."""
    figure = factor(cells, name, two)
    if saved_as:
        save(figure, saved_as)
    display(figure)
    plt.close(figure)  # else the notebook shows it twice
    return outcome_table(with_two_layers(cells, two), name)


def milestones(axes: Axes, rows: Mapping[float, Sequence[Run]]) -> None:
    """The `MARKS` of runs at some heights, side by side at each; a bar for the Kaplan-Meier median of T_grok."""
    spots: dict[str, list[tuple[float, float]]] = {kind: [] for kind in MARKS}
    for row, runs in rows.items():
        for run, offset in zip(runs, np.linspace(-0.3, 0.3, len(runs) + 2)[1:-1], strict=True):
            end = None if run.t_grok is not None else run.metrics["step"][-1]
            for kind, step in zip(MARKS, (run.t_fit, run.t_grok, end), strict=True):
                spots[kind] += [] if step is None else [(step, row + offset)]
        median = medians(runs)["t_grok"]
        axes.vlines([] if median is None else median, row - 0.38, row + 0.38, color=BLUE, lw=1.4)
    for kind, look in MARKS.items():
        axes.scatter(*np.reshape(spots[kind], (-1, 2)).T, zorder=2, label=kind, **look)


def fate(runs: Sequence[Run]) -> str:
    """ "8 of 20 grok, median T_fit 300, T_grok none", where too few runs grok for a median."""
    told = [f"{MILESTONES[name]} {or_none(medians(runs)[name])}" for name in ("t_fit", "t_grok")]
    return f"{sum(run.t_grok is not None for run in runs)} of {len(runs)} grok, median {', '.join(told)}"


def or_none(median: float | None) -> str:
    return "none" if median is None else f"{median:,.0f}"


def steps_axis(axes: Axes) -> None:
    log_steps(axes)
    low, high = axes.dataLim.intervalx
    spans = ((5, (1, 1.5, 2, 3, 4, 6)), (40, (1, 2, 5)), (np.inf, (1, 3)))
    axes.xaxis.set_major_locator(LogLocator(subs=next(subs for span, subs in spans if high < span * low)))
    axes.xaxis.set_minor_formatter("")


def summary(panels: Mapping[str, Mapping[str, Cells]]) -> Figure:
    """All factors down the side, the distribution of T_grok along a log axis, in a panel for each network.

    The first row is the baseline, with a line at its median all the way down.
    """
    names = list(next(iter(panels.values())))
    rows = dict.fromkeys((name, label) for name in names for panel in panels.values() for label in panel[name])
    heights = {row: i + 0.7 * names.index(row[0]) for i, row in enumerate(rows)}
    last = max(heights.values())
    figure, columns = plt.subplots(1, len(panels), figsize=(6.37, 0.132 * last + 0.8), sharex=True, sharey=True)
    first = columns[0]
    for name in names:
        own = [height for (factor, _), height in heights.items() if factor == name]
        place = {"transform": first.get_yaxis_transform(), "ha": "right", "va": "center"}
        first.text(-0.43, np.mean(own), name if name != "baseline" else "", weight="bold", **place)
        for axes in columns:
            axes.axhline(max(own) + 0.85, color="#dddddd", lw=0.6)
    for axes, (title, panel) in zip(columns, panels.items(), strict=True):
        milestones(axes, {heights[name, label]: runs for name in panel for label, runs in panel[name].items()})
        axes.axvline(*(medians(runs)["t_grok"] for runs in panel["baseline"].values()), color=BLUE, lw=0.8, ls=":")
        steps_axis(axes)
        axes.set_title(title)
        axes.set_label(extremes(panel))
        axes.grid(axis="y", visible=False)
    first.set_yticks(list(heights.values()), [label for _, label in heights])
    first.set_ylim(last + 1.2, -0.8)
    figure.legend(*first.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def waiting(cells: Cells) -> Figure:
    """The share of each cell's runs that have not grokked yet (Kaplan-Meier), on a log axis that shows the last one."""
    figure, axes = plt.subplots(figsize=(4.9, 2))
    told = []
    for (name, runs), color in zip(cells.items(), COLORS, strict=False):
        rows = statistics.kaplan_meier(*censored(runs, "t_grok"))
        steps, shares = [rows[0][0], *(row[0] for row in rows)], [1.0, *(row[1] for row in rows)]
        seeds, half = f"{name}, {len(runs):,} seeds", or_none(medians(runs)["t_grok"])
        axes.step(steps, shares, where="post", color=color, label=seeds)
        told.append(f"{seeds}: half by {half}, the last drop at {steps[-1]:,.0f} to {shares[-1]:.1%}")
    log_axis(axes, "y", nonpositive="clip")  # a line falls out of the picture where all have grokked
    axes.set(ylabel="have not grokked yet", ylim=(0.5 / max(map(len, cells.values())), 1.3))
    axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g} %")
    steps_axis(axes)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    axes.set_label("; ".join(told))
    return figure


def steps_map(grid: Mapping[str, Mapping[str, Sequence[float | None]]], across: str, down: str = "") -> Figure:
    """The steps that the runs of each cell of a grid took: the median, or how many got there; grey: too few to say."""
    words = np.array([[in_words(steps) for steps in row.values()] for row in grid.values()])
    steps = np.array([[median_steps(cell) for cell in row.values()] for row in grid.values()])
    slowest = steps[steps < NEVER].max(initial=1)
    figure, axes = plt.subplots(figsize=(4.4, 0.24 * len(grid) + 0.7))
    colors = mpl.colormaps["viridis_r"].with_extremes(over="#e6e6e6")
    look = {"cmap": colors, "norm": LogNorm(min(steps.min(), slowest / 2), slowest), "annot": words, "fmt": ""}
    columns = list(next(iter(grid.values())))
    heatmap(axes, steps, **look, square=False, linewidths=0.5, xticklabels=columns, yticklabels=list(grid))
    rows = (
        f"{name} – {', '.join(map(': '.join, zip(columns, row, strict=True)))}"
        for name, row in zip(grid, words, strict=True)
    )
    axes.set(xlabel=across, ylabel=down, label=f"steps: {'; '.join(rows)}")
    return figure


def median_steps(steps: Sequence[float | None]) -> float:
    """The median, of an even number the lower one; NEVER if fewer than half got there."""
    return sorted(NEVER if step is None else step for step in steps)[(len(steps) - 1) // 2]


def in_words(steps: Sequence[float | None]) -> str:
    """ "150" steps if all runs got there; "150 (8/10)", "3/10" without a median, "–" if none did."""
    median, got = median_steps(steps), sum(step is not None for step in steps)
    if got == len(steps):
        return f"{median:,.0f}"
    if not got:
        return "–"
    return f"{median:,.0f} ({got}/{len(steps)})" if median < NEVER else f"{got}/{len(steps)}"


def extremes(panel: Mapping[str, Cells]) -> str:
    """The fate of the baseline, of the first and of the last cell by median T_grok, and how many have none."""
    cells = {f"{name} {label}": runs for name, each in panel.items() for label, runs in each.items()}
    reached = {name: median for name, runs in cells.items() if (median := medians(runs)["t_grok"]) is not None}
    ranked = sorted(reached, key=reached.get)
    told = [f"{name}: {fate(cells[name])}" for name in ("baseline baseline", *ranked[:1], *ranked[-1:])]
    return "; ".join([*told, f"{len(cells) - len(reached)} of {len(cells)} cells have no median T_grok"])


def clock(cells: Cells) -> Figure:
    """T_fit and the delay of every run against learning rate × weight decay, a colour per learning rate."""
    figure, panels = plt.subplots(1, 2, figsize=(5.6, 2), sharex=True)
    optims = [runs[0].config.optim for runs in cells.values()]
    rates = sorted({optim.lr for optim in optims})
    x, y, hue, style = "learning rate × weight decay", "optimiser steps", "learning rate", ""
    look = {"hue": hue, "palette": "viridis", "style": style, "markers": {"reached": "o", "not by then": "^"}, "s": 14}
    for axes, name in zip(panels, ("t_fit", "delay"), strict=True):
        points = []
        for optim, runs in zip(optims, cells.values(), strict=True):
            product = optim.lr * optim.weight_decay * 1.08 ** rates.index(optim.lr)  # beside one another
            for time, reached in zip(*censored(runs, name), strict=True):
                points.append((product, time, f"{optim.lr:g}", "reached" if reached else "not by then"))
        table = dict(zip((x, y, hue, style), zip(*points, strict=True), strict=True))
        sns.scatterplot(table, x=x, y=y, ax=axes, legend=name == "t_fit", **look)
        log_axis(axes, "x")
        axes.set_title(MILESTONES[name])
        axes.set_label("; ".join(f"{cell}: median {or_none(medians(runs)[name])}" for cell, runs in cells.items()))
    return figure
