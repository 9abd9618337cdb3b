"""Notebook 02: the table of all equations."""

import numpy as np
from matplotlib.axes import Axes


def table(axes: Axes, rows: np.ndarray, p: int) -> None:
    """The p x p table of answers, a down and b across; equations that are not in `rows` (n, 3) stay white."""
    cells = np.full((p, p), np.nan)
    cells[rows[:, 0], rows[:, 1]] = rows[:, 2]
    axes.imshow(cells, cmap="viridis", vmin=0, vmax=p - 1, interpolation="nearest")
    axes.grid(False)
    axes.set(xlabel="b", ylabel="a", xticks=[0, p - 1], yticks=[0, p - 1])
