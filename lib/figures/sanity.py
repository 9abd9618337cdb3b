"""Notebook 01: the lessons of the sanity check, each a training loss beside the lowest that can be reached."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from lib.figures.curves import curve
from lib.figures.style import COLORS, log_steps
from lib.runs.run import Run


def lesson(axes: Axes, runs: Sequence[Run], names: Sequence[float], title: str, floors: Sequence[float] = ()) -> None:
    """Training loss of runs that differ in one setting, labelled by its value, each with its floor dotted."""
    for run, name, color in zip(runs, names, COLORS, strict=False):
        curve(axes, run, "train_loss", color=color, label=f"{name:g}")
    for floor, color in zip(floors, COLORS, strict=False):
        axes.axhline(floor, color=color, ls=":", lw=1)
    log_steps(axes)
    axes.set(ylim=(0, 5.2), ylabel="loss (nats per token)", title=title)
    axes.legend(handlelength=1.2, ncols=2, loc="upper right")
