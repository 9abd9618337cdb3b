"""The look of every figure: colours, axes, labels beside lines, and SVG of the same bytes from the same data."""

import base64
import io
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from IPython import get_ipython
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib_inline.config import InlineBackend

from lib.figures.words import forms, picture, words
from lib.support.files import ROOT, write_atomically

FIGURES = ROOT / "figures"
# Okabe and Ito's colours, which stay apart for colour-blind readers
BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#666666"
COLORS = (BLUE, ORANGE, GREEN, RED, PURPLE, GREY)


def style() -> None:
    """Set seaborn's theme: the same look in every notebook, and the same bytes from the same data.

    In a notebook, every figure is shown with its words from now on.
    """
    look = {
        "font.size": 7.5,  # figures are made in the size that they have in the report
        "figure.constrained_layout.use": True,
        "figure.dpi": 130,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": "medium",
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.grid": True,
        "grid.color": "#dddddd",
        "grid.linewidth": 0.5,
        "legend.frameon": False,
        "lines.linewidth": 1.3,
        "patch.force_edgecolor": False,
        "svg.hashsalt": "a small transformer groks",
    }
    sns.set_theme(None, "ticks", COLORS, font="DejaVu Sans", rc=look)  # seaborn's own font is Arial where there is one
    if shell := get_ipython():
        InlineBackend.instance(parent=shell).figure_formats = set()  # whose picture would be without words
        shell.display_formatter.mimebundle_formatter.for_type(Figure, forms)


def save(figure: Figure, name: str) -> Path:
    """Write figures/<name>.svg, its words in it as its title; the same figure gives the same bytes."""
    FIGURES.mkdir(exist_ok=True)
    path = FIGURES / f"{name}.svg"
    figure.draw_without_rendering()  # makes the layout, whose last bits depend on what was drawn before
    figure.set_layout_engine("none")
    for axes in figure.axes:
        axes.set_position(np.round(axes.get_position(original=True).bounds, 6))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", dpi=400, metadata={"Date": None, "Title": words(figure)})
    write_atomically(path, buffer.getvalue())
    return path


def framed(figure: Figure) -> str:
    """A figure as HTML for a widget, of the size that it is made in; pyplot forgets it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    plt.close(figure)
    return picture(base64.b64encode(buffer.getvalue()).decode(), words(figure))


def label_line(axes: Axes, x: float, y: float, text: str, color: str, **where: Any) -> None:
    """Text beside a line, in its colour: read faster than a legend."""
    options = {"xytext": (4, 0), "textcoords": "offset points", "va": "center"} | where
    axes.annotate(text, (x, y), color=color, **options)


def log_axis(axes: Axes, way: str, **options: Any) -> None:
    """A logarithmic "x" or "y" axis, labelled 1e−5, 0.1, 1,000 or 100k: exponents would be too small to read."""
    getattr(axes, f"set_{way}scale")("log", **options)
    axis = getattr(axes, f"{way}axis")
    axis.set_major_formatter(lambda x, _: plain(x))
    axis.set_minor_formatter(lambda x, _: plain(x) if np.divide(*axis.get_view_interval()[::-1]) < 10 else "")


def plain(x: float) -> str:
    """1e−5, 0.1, 1.5, 1,000, 12.5k or 2M."""
    for least, unit, name in ((1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if x >= least:
            return f"{x / unit:g}{name}"
    return f"{x:,.6g}".replace("e-0", "e−").replace("e-", "e−")


def log_steps(axes: Axes) -> None:
    log_axis(axes, "x")
    axes.set_xlabel("optimiser steps")
    axes.margins(x=0.02)


def accuracy_axis(axes: Axes) -> None:
    axes.set(ylim=(-0.03, 1.05), ylabel="accuracy")
    axes.yaxis.set_major_formatter("{x:.0%}")


def heatmap(axes: Axes, cells: np.ndarray, **look: Any) -> None:
    """Numbers (rows, columns) as colours; `look`: seaborn.heatmap's. One image in an SVG, not a path per cell."""
    sns.heatmap(cells, ax=axes, **{"cbar": False, "square": True, "rasterized": True} | look)
    axes.grid(False)
    axes.tick_params(length=0, labelrotation=0)


def mark(axes: Axes, step: float | None, text: str, side: str, height: float = 0.3) -> None:
    """A vertical line at a step, if any, with its name on the left or right, at some share of the axes' height."""
    if step is None:
        return
    axes.axvline(step, color=GREY, lw=0.8, ls=":")
    place = {"xycoords": axes.get_xaxis_transform(), "textcoords": "offset points", "va": "center"}
    x, align = (-3, "right") if side == "left" else (3, "left")
    axes.annotate(text, (step, height), xytext=(x, 0), ha=align, color=GREY, rotation=90, **place)
