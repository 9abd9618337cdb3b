"""Notebook 10: what was learned, read off the answers."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

from lib.analysis import rules
from lib.analysis.cells import Cells
from lib.figures import grokking
from lib.figures.style import BLUE, GREY, accuracy_axis
from lib.runs.run import Run


def tables(runs: Mapping[str, Run]) -> Figure:
    """The p x p table of each network's answers at its end: seen or unseen, right or wrong."""
    figure, panels = plt.subplots(1, len(runs), figsize=(max(4.6, 1.55 * len(runs)), 2.5), squeeze=False)
    for axes, (title, run) in zip(panels[0], runs.items(), strict=True):
        cells, shares = grokking.table(run, run.answers["step"][-1])
        grokking.draw_table(axes, cells)
        axes.set_title(f"{title}\ntrain {shares[0]:.1%}\nunseen {shares[1]:.1%}", weight="normal")
    panels[0, 0].set_ylabel("a")
    grokking.legend_of_kinds(figure)
    return figure


def errors(cells: Cells) -> Figure:
    """By how much unseen equations are missed: a panel per cell, a bar for the median over its runs, a dot per run."""
    figure, panels = plt.subplots(1, len(cells), figsize=(2.7 * len(cells), 1.9), sharey=True, squeeze=False)
    for axes, (title, runs) in zip(panels[0], cells.items(), strict=True):
        shares = [rules.error_shares(run) for run in runs]
        names, values = list(shares[0]), np.array([list(each.values()) for each in shares])
        axes.bar(names, np.median(values, 0), color=[GREY if name != "0" else BLUE for name in names], alpha=0.5)
        axes.plot(names, values.T, "o", ms=2, color="black", alpha=0.6)
        accuracy_axis(axes)
        axes.set(title=title, xlabel="answer less truth", ylabel="")
        axes.grid(axis="x", visible=False)
    panels[0, 0].set_ylabel("share of unseen equations")
    return figure


def noise(cells: Mapping[float, Sequence[Run]]) -> Figure:
    """What is learned of a train split of which some labels are wrong: the median over the runs, and their range."""
    points = [
        (share, value, name)
        for share, runs in cells.items()
        for run in runs
        for name, value in rules.label_shares(run).items()
        if name != "wrong label, true answer" and not np.isnan(value)
    ]
    x, y, hue = "share of wrong labels in training", "answered so", "equations"
    figure, axes = plt.subplots(figsize=(4.6, 2.2))
    table = dict(zip((x, y, hue), zip(*points, strict=True), strict=True))
    look = {"estimator": "median", "errorbar": ("pi", 100), "markers": True, "dashes": False}
    sns.lineplot(table, x=x, y=y, hue=hue, style=hue, ax=axes, **look)
    axes.legend(bbox_to_anchor=(1, 0.5), loc="center left")
    accuracy_axis(axes)
    axes.set_ylabel("share answered so")
    axes.xaxis.set_major_formatter("{x:.0%}")
    return figure
