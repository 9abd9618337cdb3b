"""Figure 1 of Power et al. 2022 (arXiv 2201.02177), under several settings, and the network's answers as it groks."""

import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from lib import arithmetic, plots
from lib.config import DataConfig
from lib.fields import UserError
from lib.runs import Run

COLORS = {"the paper's network": plots.RED, "the starter's network": plots.BLUE}
KINDS = {  # a cell of the table of answers
    "train, wrong": "#d6e6f2",
    "train, right": plots.BLUE,
    "unseen, wrong": "#fbf0da",
    "unseen, right": plots.ORANGE,
    "no equation": "white",
}


def curves(settings: Mapping[str, Mapping[str, Sequence[Run]]]) -> Figure:
    """A column per setting: accuracy, loss, and the norm of the weight matrices, of one network or both.

    Above the accuracy, T_fit (hollow) and T_grok (full) of each run; dotted, what guessing gives.
    """
    figure, panels = plt.subplots(3, len(settings), figsize=(2.5 * len(settings), 5.6), sharex=True, sharey="row")
    for column, (title, networks) in zip(panels.T, settings.items(), strict=True):
        for name, runs in networks.items():
            for axes, metric in zip(column, ("acc", "loss"), strict=False):
                plots.learning_curves(axes, runs, metric, COLORS[name])
            for run in runs:
                plots.curve(column[2], run, "matrix_norm", color=COLORS[name], lw=1)
                if np.isnan(run.metrics["matrix_norm"]).all():
                    column[2].text(0.5, 0.5, "not recorded", transform=column[2].transAxes, ha="center", fontsize=8)
            height = 1.08 + 0.07 * list(COLORS).index(name)
            for run in runs:
                for step, fill in ((run.t_fit, "white"), (run.t_grok, COLORS[name])):
                    if step is not None:
                        column[0].plot(step, height, "o", ms=3.5, mec=COLORS[name], mfc=fill, mew=0.8, clip_on=False)
        [p] = {run.config.data.p for runs in networks.values() for run in runs}
        for axes, guessed in zip(column, (1 / p, math.log(p)), strict=False):
            axes.axhline(guessed, color=plots.GREY, lw=0.8, ls=":")
        for axes in column:
            plots.log_steps(axes)
            axes.set_xlabel("")
        column[2].set_xlabel("optimiser steps")
        column[0].set_title(title)
    accuracy, loss, norm = panels
    for axes in accuracy:
        plots.accuracy_axis(axes)
        axes.set(ylabel="", ylim=(-0.03, 1.2), yticks=np.linspace(0, 1, 6))
    accuracy[0].set_ylabel("accuracy")
    loss[0].set(ylabel="loss (nats)", yscale="log")
    norm[0].set(ylabel="norm of the matrices", yscale="log")
    lines = [Line2D([], [], color=color, label=name) for name, color in COLORS.items()]
    lines += plots.split_handles(plots.GREY)
    lines += [Line2D([], [], color=plots.GREY, ls=":", lw=0.8, label="guessing")]
    dots = (("T_fit", "white"), ("T_grok", plots.GREY))
    lines += [Line2D([], [], ls="", marker="o", ms=3.5, mec=plots.GREY, mfc=fill, label=name) for name, fill in dots]
    figure.legend(handles=lines, loc="outside upper center", ncols=len(lines))
    return figure


def answers(run: Run, steps: Sequence[int]) -> Figure:
    """The p x p table of answers at some of the steps that the run kept: seen or unseen, right or wrong."""
    figure, panels = plt.subplots(1, len(steps), figsize=(1.75 * len(steps), 2.75), sharey=True)
    for axes, step in zip(panels, steps, strict=True):
        cells, shares = table(run, step)
        draw_table(axes, cells)
        axes.set_title(f"step {step:,}\ntrain {shares[0]:.0%}\nunseen {shares[1]:.0%}", fontsize=8, weight="normal")
    panels[0].set_ylabel("a")
    legend_of_kinds(figure)
    return figure


def table(run: Run, step: int) -> tuple[np.ndarray, tuple[float, float]]:
    """`verdicts` of the answers that a run kept. Raises UserError if it kept none at that step."""
    kept = run.answers
    if step not in kept["step"]:
        raise UserError(f"step {step}: must be one at which {run.path} kept its answers: {kept['step'].tolist()}")
    at = kept["step"].tolist().index(step)
    return verdicts(run.config.data, {name: answers[at] for name, answers in kept.items() if name != "step"})


def verdicts(data: DataConfig, given: Mapping[str, np.ndarray]) -> tuple[np.ndarray, tuple[float, float]]:
    """(p, p) indices into KINDS, and the shares of the train split and of all unseen equations that are right.

    given: for each split, the answers (N,) to its equations.
    """
    cells = np.full((data.p, data.p), len(KINDS) - 1)
    right: dict[bool, list[np.ndarray]] = {True: [], False: []}
    for name, rows in arithmetic.split(data).items():
        hit = given[name] == rows[:, 2]  # the token of a number is the number
        cells[rows[:, 0], rows[:, 1]] = hit + (0 if name == "train" else 2)
        right[name == "train"].append(hit)
    return cells, (np.concatenate(right[True]).mean(), np.concatenate(right[False]).mean())


def draw_table(axes: Axes, cells: np.ndarray) -> None:
    axes.imshow(cells, cmap=ListedColormap(list(KINDS.values())), vmin=0, vmax=4, interpolation="nearest")
    axes.grid(False)
    axes.set(xlabel="b", xticks=[0, len(cells) - 1], yticks=[0, len(cells) - 1])


def legend_of_kinds(figure: Figure) -> None:
    patches = [Patch(fc=color, ec=plots.GREY, lw=0.4, label=name) for name, color in list(KINDS.items())[:4]]
    figure.legend(handles=patches, loc="outside lower center", ncols=4)
