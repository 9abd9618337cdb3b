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

from lib import plots, stats
from lib.runs import Run, censored
from lib.sweeps import Cells, outcome_table


def middle(runs: Sequence[Run]) -> Run:
    """The run in the middle by T_grok (those that do not grok last, then by how far they got)."""
    return sorted(runs, key=lambda run: (run.t_grok or np.inf, -run.summary["test_acc"]))[len(runs) // 2]


def factor(cells: Cells, name: str) -> Figure:
    """One factor: test accuracy against steps on the left, T_fit and T_grok of every run on the right."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.4, 2.6), width_ratios=(1.15, 1))
    for (label, runs), color in zip(cells.items(), shades(len(cells)), strict=True):
        for run in runs:
            thick = {"lw": 1.6, "label": label} if run is middle(runs) else {"lw": 0.5, "alpha": 0.4}
            plots.curve(left, run, "test_acc", color=color, **thick)
    plots.log_steps(left)
    plots.accuracy_axis(left)
    left.set_ylabel("test accuracy")
    left.set_title(name)
    left.legend(fontsize=7, handlelength=1.2)
    for row, runs in enumerate(cells.values()):
        milestones(right, runs, row)
    steps_axis(right)
    right.set(yticks=range(len(cells)), yticklabels=list(cells), ylim=(len(cells) - 0.5, -0.5))
    right.legend(handles=key(), fontsize=7, loc="upper center", bbox_to_anchor=(0.45, 1.18), ncols=3, handlelength=1)
    return figure


def show(cells: Cells, name: str) -> Markdown:
    """Draw a factor, keep the figure as figures/ablation_<name>.svg, and return its table, for a notebook's cell."""
    figure = factor(cells, name)
    plots.save(figure, "ablation_" + re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_"))
    display(figure)
    plt.close(figure)  # else the notebook shows it twice
    return outcome_table(cells, name)


def shades(n: int) -> list[tuple[float, ...]]:
    """n colours in an order that the eye follows, all dark enough on white."""
    return [mpl.colormaps["viridis"](x) for x in np.linspace(0, 0.88, n)]


def milestones(axes: Axes, runs: Sequence[Run], row: float) -> None:
    """T_fit (hollow), T_grok (full) of each run in a row, a triangle where a run ends without; the median is a bar."""
    offsets = np.linspace(-0.22, 0.22, len(runs)) if len(runs) > 1 else [0.0]
    for run, offset in zip(runs, offsets, strict=True):
        if run.t_fit is not None:
            axes.plot(run.t_fit, row + offset, "o", ms=3, mfc="white", mec=plots.GREY, mew=0.8)
        if run.t_grok is not None:
            axes.plot(run.t_grok, row + offset, "o", ms=3, color=plots.BLUE)
        else:
            axes.plot(run.metrics["step"][-1], row + offset, ">", ms=4, color=plots.RED, mfc="white")
    median, *_ = stats.median_time(*censored(runs, "t_grok"))
    if median is not None:
        axes.plot([median, median], [row - 0.38, row + 0.38], color=plots.BLUE, lw=1.6)


def key() -> list[Line2D]:
    grey = {"mfc": "white", "mec": plots.GREY}
    return [
        Line2D([], [], ls="", marker="o", ms=3, label="T_fit", **grey),
        Line2D([], [], ls="", marker="o", ms=3, color=plots.BLUE, label="T_grok (bar: median)"),
        Line2D([], [], ls="", marker=">", ms=4, color=plots.RED, mfc="white", label="not by then"),
    ]


def steps_axis(axes: Axes) -> None:
    axes.set(xscale="log", xlabel="optimiser steps")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def summary(factors: Mapping[str, Cells], baseline: float) -> Figure:
    """All factors down the side, the distribution of T_grok along a log axis; a line at the baseline's median."""
    n_rows = sum(len(cells) + 0.7 for cells in factors.values())
    figure, axes = plt.subplots(figsize=(7.4, 0.155 * n_rows + 0.6))
    row, ticks = 0.0, {}
    for name, cells in factors.items():
        axes.annotate(
            name, (0, row + (len(cells) - 1) / 2), xytext=(-112, 0), textcoords="offset points", va="center",
            xycoords=axes.get_yaxis_transform(), fontsize=8, weight="bold", ha="right",
        )  # fmt: skip
        for label, runs in cells.items():
            milestones(axes, runs, row)
            ticks[row] = label
            row += 1
        axes.axhline(row - 0.15, color="#dddddd", lw=0.6)
        row += 0.7
    axes.axvline(baseline, color=plots.BLUE, lw=0.8, ls=":")
    steps_axis(axes)
    axes.set_ylim(row - 0.5, -0.8)
    axes.set_yticks(list(ticks), list(ticks.values()), fontsize=7)
    axes.grid(axis="y", visible=False)
    axes.legend(handles=key(), loc="lower left", bbox_to_anchor=(0, 1), ncols=3, fontsize=8)
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
