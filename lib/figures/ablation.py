"""Pictures of an ablation: cells of runs that differ by seed, one cell beside the other."""

import re
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Markdown, display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from lib.analysis import statistics
from lib.analysis.cells import Cells, censored, outcome_table
from lib.figures.curves import curve
from lib.figures.style import BLUE, GREY, RED, accuracy_axis, save
from lib.runs.run import Run


def middle(runs: Sequence[Run]) -> Run:
    """The run in the middle by T_grok (those that do not grok last, then by how far they got)."""
    return sorted(runs, key=lambda run: (run.t_grok or np.inf, -run.summary["test_acc"]))[len(runs) // 2]


def factor(cells: Cells, name: str, two: Cells | None = None) -> Figure:
    """One factor: test accuracy against steps on the left, T_fit and T_grok of every run on the right.

    `two`: the same cells with two layers, on the right alone.
    """
    rows = with_two_layers(cells, two)
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.4, max(2.6, 0.8 + 0.23 * len(rows))), width_ratios=(1.15, 1))
    for (label, runs), color in zip(cells.items(), shades(len(cells)), strict=True):
        for run in runs:
            thick = {"lw": 1.6, "label": label} if run is middle(runs) else {"lw": 0.5, "alpha": 0.4}
            curve(left, run, "test_acc", color=color, **thick)
    steps_axis(left)
    accuracy_axis(left)
    left.set_ylabel("test accuracy")
    left.set_title(f"{name}, 1 layer" if two else name)
    left.legend(fontsize=7, handlelength=1.2)
    for row, runs in enumerate(rows.values()):
        milestones(right, runs, row)
    if two:
        right.axhline(len(cells) - 0.5, color="#bbbbbb", lw=0.6)
    steps_axis(right)
    right.set(yticks=range(len(rows)), yticklabels=list(rows), ylim=(len(rows) - 0.5, -0.5))
    right.legend(handles=key(), fontsize=7, loc="lower center", bbox_to_anchor=(0.45, 1), ncols=3, handlelength=1)
    return figure


def with_two_layers(cells: Cells, two: Cells | None) -> Cells:
    return {**cells, **{f"{label}, 2 layers": runs for label, runs in (two or {}).items()}}


def show(cells: Cells, name: str, two: Cells | None = None) -> Markdown:
    """Draw a factor, keep the figure as figures/ablation_<name>.svg, and return its table, for a notebook's cell."""
    figure = factor(cells, name, two)
    save(figure, "ablation_" + re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_"))
    display(figure)
    plt.close(figure)  # else the notebook shows it twice
    return outcome_table(with_two_layers(cells, two), name)


def shades(n: int) -> list[tuple[float, ...]]:
    """n colours in an order that the eye follows, all dark enough on white."""
    return [mpl.colormaps["viridis"](x) for x in np.linspace(0, 0.88, n)]


def milestones(axes: Axes, runs: Sequence[Run], row: float) -> None:
    """T_fit (hollow), T_grok (full) of each run in a row, a triangle where a run ends without; the median is a bar."""
    offsets = np.linspace(-0.22, 0.22, len(runs)) if len(runs) > 1 else [0.0]
    for run, offset in zip(runs, offsets, strict=True):
        if run.t_fit is not None:
            axes.plot(run.t_fit, row + offset, "o", ms=3, mfc="white", mec=GREY, mew=0.8)
        if run.t_grok is not None:
            axes.plot(run.t_grok, row + offset, "o", ms=3, color=BLUE)
        else:
            axes.plot(run.metrics["step"][-1], row + offset, ">", ms=4, color=RED, mfc="white")
    median, *_ = statistics.median_time(*censored(runs, "t_grok"))
    if median is not None:
        axes.plot([median, median], [row - 0.38, row + 0.38], color=BLUE, lw=1.6)


def key() -> list[Line2D]:
    grey = {"mfc": "white", "mec": GREY}
    return [
        Line2D([], [], ls="", marker="o", ms=3, label="T_fit", **grey),
        Line2D([], [], ls="", marker="o", ms=3, color=BLUE, label="T_grok (bar: median)"),
        Line2D([], [], ls="", marker=">", ms=4, color=RED, mfc="white", label="not by then"),
    ]


def steps_axis(axes: Axes) -> None:
    axes.set(xscale="log", xlabel="optimiser steps")
    low, high = axes.dataLim.intervalx
    spans = ((5, (1, 1.5, 2, 3, 4, 6, 8)), (100, (1, 2, 5)), (np.inf, (1, 3)))
    axes.xaxis.set_major_locator(LogLocator(subs=next(subs for span, subs in spans if high < span * low)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def summary(panels: Mapping[str, Mapping[str, Cells]]) -> Figure:
    """All factors down the side, the distribution of T_grok along a log axis, in a panel for each network.

    The first row is the baseline, with a line at its median all the way down.
    """
    first, *_ = panels.values()
    cells = {name: list(dict.fromkeys(cell for panel in panels.values() for cell in panel[name])) for name in first}
    n_rows = sum(len(labels) + 0.7 for labels in cells.values())
    figure, columns = plt.subplots(1, len(panels), figsize=(7.4, 0.155 * n_rows + 0.6), sharex=True, sharey=True)
    for axes, (title, panel) in zip(columns, panels.items(), strict=True):
        row, ticks = 0.0, {}
        for name, labels in cells.items():
            if axes is columns[0] and name != "baseline":  # whose one cell has its name
                axes.annotate(
                    name, (0, row + (len(labels) - 1) / 2), xytext=(-72, 0), textcoords="offset points", va="center",
                    xycoords=axes.get_yaxis_transform(), fontsize=8, weight="bold", ha="right",
                )  # fmt: skip
            for label in labels:
                if label in panel[name]:
                    milestones(axes, panel[name][label], row)
                ticks[row] = label
                row += 1
            axes.axhline(row - 0.15, color="#dddddd", lw=0.6)
            row += 0.7
        [baseline] = panel["baseline"].values()
        median, *_ = statistics.median_time(*censored(baseline, "t_grok"))
        axes.axvline(median, color=BLUE, lw=0.8, ls=":")
        steps_axis(axes)
        axes.set_title(title)
        axes.set_ylim(row - 0.5, -0.8)
        axes.set_yticks(list(ticks), list(ticks.values()), fontsize=7)
        axes.grid(axis="y", visible=False)
    figure.legend(handles=key(), loc="outside upper center", ncols=3, fontsize=8)
    return figure


def clock(cells: Cells) -> Figure:
    """T_fit and the delay of every run against learning rate × weight decay, a colour per learning rate.

    Triangles: not by then.
    """
    figure, panels = plt.subplots(1, 2, figsize=(7.4, 2.6), sharex=True)
    rates = sorted({runs[0].config.optim.lr for runs in cells.values()})
    for i, (rate, color) in enumerate(zip(rates, shades(len(rates)), strict=True)):
        for runs in cells.values():
            optim = runs[0].config.optim
            if optim.lr == rate:
                for axes, name in zip(panels, ("t_fit", "delay"), strict=True):
                    for time, reached in zip(*censored(runs, name), strict=True):
                        at = optim.lr * optim.weight_decay * 1.08**i  # beside one another
                        axes.plot(
                            at, time, "o" if reached else "^", ms=3.5, color=color, mfc=color if reached else "white"
                        )
        panels[1].plot([], [], "o", ms=3.5, color=color, label=f"learning rate {rate:g}")
    for axes, title in zip(panels, ("T_fit", "delay"), strict=True):
        axes.set(xscale="log", xlabel="learning rate × weight decay", ylabel="optimiser steps")
        axes.set_title(title)
    panels[1].legend(fontsize=7)
    return figure
