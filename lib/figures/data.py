"""Notebook 02: the table of all equations."""

import numpy as np
from matplotlib.axes import Axes

from lib.figures.style import heatmap


def table(axes: Axes, rows: np.ndarray, p: int) -> None:
    """The p x p table of answers, a down and b across; equations that are not in `rows` (n, 3) stay white."""
    cells = np.full((p, p), np.nan)
    cells[rows[:, 0], rows[:, 1]] = rows[:, 2]
    heatmap(axes, cells, cmap="viridis", vmin=0, vmax=p - 1, xticklabels=p - 1, yticklabels=p - 1)
    axes.set(xlabel="b", ylabel="a", label=f"{len(rows):,} of {p * p:,} cells filled, with answers from 0 to {p - 1}")
