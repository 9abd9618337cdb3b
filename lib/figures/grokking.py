"""Figure 1 of Power et al. 2022 (arXiv 2201.02177), under several settings, and the network's answers as it groks."""

import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from lib import tasks
from lib.analysis.cells import medians, shown
from lib.config import DataConfig
from lib.figures.curves import curve, learning_curves, split_handles
from lib.figures.style import BLUE, GREY, ORANGE, RED, accuracy_axis, heatmap, log_axis, log_steps, mark
from lib.runs.run import Run
from lib.support.errors import UserError

COLORS = {"the paper's network": RED, "the starter's network": BLUE}
KINDS = {  # a cell of the table of answers
    "train, wrong": "#d6e6f2",
    "train, right": BLUE,
    "unseen, wrong": "#fbf0da",
    "unseen, right": ORANGE,
    "no equation": "white",
}


def grokking(column: Sequence[Axes], runs: Sequence[Run], title: str, color: str) -> None:
    """Accuracy (above) and loss (below) of runs that differ by seed; from the median T_fit to T_grok shaded."""
    middle = medians(runs)
    for axes, metric in zip(column, ("acc", "loss"), strict=True):
        learning_curves(axes, runs, metric, color)
        log_steps(axes)
        for name, text, side in (("t_fit", "T_fit", "left"), ("t_grok", "T_grok", "right")):
            mark(axes, middle[name], text, side)
        if None not in (middle["t_fit"], middle["t_grok"]):
            axes.axvspan(middle["t_fit"], middle["t_grok"], color=color, alpha=0.08, lw=0)
    accuracy_axis(column[0])
    column[1].set_ylabel("loss (nats)")
    log_axis(column[1], "y")
    column[0].set(xlabel="", title=title)
    column[0].legend(handles=split_handles(color), loc="upper left")


def in_short(networks: Mapping[str, Sequence[Run]]) -> str:
    """What `grokking` shows of each network, a sentence each, from the medians over its seeds."""
    told = {name: [shown(medians(runs)[key], ",.0f") for key in ("t_fit", "t_grok")] for name, runs in networks.items()}
    sentence = "{} knows the train split at step {} (T_fit), the test split at step {} (T_grok)."
    return " ".join(sentence.format(name, *steps) for name, steps in told.items())


def finish_control(panels: Sequence[Axes]) -> None:
    """Scales and titles of the control: accuracy on the left, norms on the right."""
    for axes in panels:
        log_steps(axes)
    panels[0].set_title("starter, paper's init")
    panels[1].set(ylabel="matrix norm", title="dots: T_grok")
    log_axis(panels[1], "y")
    panels[1].legend(bbox_to_anchor=(1, 1))


def curves(settings: Mapping[str, Mapping[str, Sequence[Run]]]) -> Figure:
    """A column per setting: accuracy, loss, and the norm of the weight matrices, of one network or both.

    Above the accuracy, T_fit (hollow) and T_grok (full) of each run; dotted, what guessing gives.
    """
    figure, panels = plt.subplots(3, len(settings), figsize=(1.59 * len(settings), 3.7), sharex=True, sharey="row")
    for column, (title, networks) in zip(panels.T, settings.items(), strict=True):
        for name, runs in networks.items():
            for axes, metric in zip(column, ("acc", "loss"), strict=False):
                learning_curves(axes, runs, metric, COLORS[name])
            for run in runs:
                curve(column[2], run, "matrix_norm", color=COLORS[name], lw=1)
                if np.isnan(run.metrics["matrix_norm"]).all():
                    column[2].text(
                        0.5, 0.5, "not recorded", color=COLORS[name], transform=column[2].transAxes, ha="center"
                    )
            height = 1.1 + 0.11 * list(COLORS).index(name)
            for milestone, fill in (("t_fit", "white"), ("t_grok", COLORS[name])):
                steps = [getattr(run, milestone) or np.nan for run in runs]
                column[0].plot(steps, [height] * len(runs), "o", ms=3.5, mec=COLORS[name], mfc=fill, mew=0.8)
        [p] = {run.config.data.p for runs in networks.values() for run in runs}
        for axes, guessed in zip(column, (1 / p, math.log(p)), strict=False):
            axes.axhline(guessed, color=GREY, lw=0.8, ls=":")
        for axes in column:
            log_steps(axes)
        column[0].set_title(title)
        ends = {name: np.median([run.metrics["test_loss"][-1] for run in runs]) for name, runs in networks.items()}
        column[1].set_label("; ".join(f"{name}: test loss {loss:.2g} at the end" for name, loss in ends.items()))
    accuracy, loss, norm = panels
    for axes in accuracy:
        accuracy_axis(axes)
        axes.set(ylim=(-0.03, 1.28), yticks=np.linspace(0, 1, 6))
    for first, name in ((loss[0], "loss (nats)"), (norm[0], "matrix norm")):
        first.set_ylabel(name)
        log_axis(first, "y")
    for axes in panels.flat:
        axes.label_outer(remove_inner_ticks=False)
    lines = [Line2D([], [], color=color, label=name) for name, color in COLORS.items()] + split_handles(GREY)
    lines += [Line2D([], [], color=GREY, ls=":", lw=0.8, label="guessing")]
    dots = (("T_fit", "white"), ("T_grok", GREY))
    lines += [Line2D([], [], ls="", marker="o", ms=3.5, mec=GREY, mfc=fill, label=name) for name, fill in dots]
    figure.legend(handles=lines, loc="outside upper center", ncols=4)
    return figure


def answer_tables(run: Run, steps: Sequence[int]) -> Figure:
    """The p x p table of answers at some of the steps that the run kept: seen or unseen, right or wrong."""
    figure, panels = plt.subplots(1, len(steps), figsize=(1.06 * len(steps), 1.8), sharey=True)
    for axes, step in zip(panels, steps, strict=True):
        cells, shares = table(run, step)
        draw_table(axes, cells)
        axes.set_title(f"step {step:,}\ntrain {shares[0]:.0%}\nunseen {shares[1]:.0%}", weight="normal")
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
    for name, rows in tasks.split(data).items():
        right = given[name] == rows[:, 2]  # the token of a number is the number
        cells[rows[:, 0], rows[:, 1]] = right + (0 if name == "train" else 2)
    n = np.bincount(cells.ravel(), minlength=len(KINDS))
    return cells, (n[1] / n[:2].sum(), n[3] / n[2:4].sum())


def draw_table(axes: Axes, cells: np.ndarray) -> None:
    last = len(cells) - 1
    heatmap(axes, cells, cmap=list(KINDS.values()), vmin=0, vmax=4, xticklabels=last, yticklabels=last)
    right, n = np.isin(cells, (1, 3)).sum(), (cells < 4).sum()
    axes.set(xlabel="b", label=f"{right:,} of {n:,} equations answered rightly")


def legend_of_kinds(figure: Figure) -> None:
    patches = [Patch(fc=color, ec=GREY, lw=0.4, label=name) for name, color in list(KINDS.items())[:4]]
    figure.legend(handles=patches, loc="outside lower center", ncols=4)
