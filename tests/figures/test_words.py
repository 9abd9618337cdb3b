"""The words of pictures: read off made-up figures, and there, with a number, wherever a picture is committed."""

import html
import re
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from conftest import NOTEBOOKS, ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from IPython.core.interactiveshell import InteractiveShell
from matplotlib.lines import Line2D

from lib.analysis.readme import words_of
from lib.figures import style, words
from lib.figures.style import accuracy_axis, heatmap, log_axis, log_steps, mark

EMPTY = ("", " ", "No description has been provided for this image", "png", "svg", "Image")
FIGURES = sorted((ROOT / "figures").glob("*.svg"))


def tells(text: object) -> bool:
    """Whether a text says something of a picture: words, and a number among them."""
    return (
        isinstance(text, str)
        and text not in EMPTY
        and text[:1] != "<"
        and len(text.split()) > 5
        and bool(re.search(r"\d", text))
    )


def test_what_says_nothing_is_seen() -> None:
    assert not any(
        map(tells, [*EMPTY, None, "<Figure size 546x383.5 with 6 Axes>", "loss against steps, which falls and falls"])
    )
    assert tells("loss against steps: falls from 3 to 1")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_picture_of_a_notebook_is_without_words(path: Path) -> None:
    """The same in all forms of an output, of which a reader's program takes the one that it likes."""
    outputs = [out for cell in nbformat.read(path, as_version=4).cells for out in cell.get("outputs", [])]
    pictures = [out for out in outputs if any(kind.startswith("image/") for kind in out.get("data", {}))]
    for output in pictures:
        alt = output.metadata["image/png"]["alt"]
        assert (
            tells(alt)
            and output.data["text/plain"] == alt
            and set(output.data) == {"image/png", "text/html", "text/plain"}
        )
        assert output.data["text/html"] == words.picture(output.data["image/png"], alt)
    assert pictures or not any("<img" in str(out) for out in outputs)


@pytest.mark.parametrize("path", FIGURES, ids=lambda path: path.stem)
def test_no_figure_is_without_words(path: Path) -> None:
    """Report and README take them from there."""
    assert tells(words_of(path))


def test_a_notebook_shows_every_figure_with_its_words() -> None:
    shell = InteractiveShell.instance()
    try:
        style.style()
        figure, axes = plt.subplots()
        axes.plot([1, 2, 4], [3, 2, 1])
        axes.set(xlabel="steps", ylabel="loss", title='<b> & "c"')
        data, metadata = shell.display_formatter.format(figure)
        expected = 'Axes: loss against steps. <b> & "c". falls from 3 to 1, half-way at 2.'
        assert metadata["image/png"]["alt"] == data["text/plain"] == expected
        assert data["text/html"].startswith(f'<img alt="{html.escape(expected)}" src="data:image/png;base64,iVBOR')
    finally:
        InteractiveShell.clear_instance()
        plt.close("all")


@settings(max_examples=30)
@given(st.lists(st.floats(0, 1, width=16), min_size=2, max_size=20))
def test_an_accuracy_reaches_its_mark_where_it_does(values: list[float]) -> None:
    """And what is not all is not called 100%."""
    axes = plt.Figure().subplots()
    axes.plot(np.arange(len(values)) * 10, values, label="test")
    accuracy_axis(axes)
    told = words.words(axes.figure)
    reached = [10 * i for i, value in enumerate(values) if value >= 0.99]
    if reached and values[0] < 0.99:
        assert f"test: reaches 99% at {reached[0]}." in told
    else:
        assert "reaches" not in told and ("100%" not in told or 1.0 in values)


def test_lines_are_named_as_the_legend_has_them() -> None:
    """By colour and dashes; thin lines, the seeds', are passed over; a line across is a value."""
    axes = plt.Figure().subplots()
    for color in ("red", "blue"):
        for dash, name in (("-", "_train"), ("--", "_test")):
            axes.plot([1, 10, 100], [4, 2, 1], dash, color=color, lw=1.3, label=name)
            axes.plot([1, 10, 100], [5, 2, 1], dash, color=color, lw=0.5)
    axes.axhline(0.5, color="grey", ls=":")
    log_steps(axes)
    mark(axes, 30, "T_fit", "left")
    handles = [Line2D([], [], color=color, label=f"p = {p}") for color, p in (("red", 97), ("blue", 113))]
    axes.legend(handles=[*handles, Line2D([], [], color="grey", ls=":", label="floor")])
    told = words.words(axes.figure)
    course = "falls from 4 to 1, half-way at 10"
    assert told == (
        "optimiser steps on a log scale. "
        + "; ".join(f"p = {p}: train {course}, test {course}" for p in (97, 113))
        + "; floor at 0.5; T_fit at 30."
    )


@pytest.mark.parametrize(
    ("x", "told"),
    [
        *((1e-10, "1e−10"), (1e-5, "1e−5"), (3e-4, "0.0003"), (1.5, "1.5"), (17, "17")),
        *((1e3, "1,000"), (12_500, "12.5k"), (1e5, "100k"), (2e6, "2M")),
    ],
)
def test_a_logarithmic_axis_has_plain_numbers(x: float, told: str) -> None:
    axes = plt.Figure().subplots()
    log_axis(axes, "x")
    axes.set_xlim(x, 20 * x)
    assert axes.xaxis.get_major_formatter()(x) == told and axes.xaxis.get_minor_formatter()(x) == ""
    axes.set_xlim(x, 5 * x)  # within a decade, where no power of ten may be, smaller steps have numbers too
    assert axes.xaxis.get_minor_formatter()(x) == told


def test_a_peak_is_told_and_panels_share_titles_and_labels() -> None:
    figure = plt.Figure()
    figure.set_label("One hill.")
    above, below = figure.subplots(2, 1, sharex=True)
    above.plot([-1, 0, 1], [0, 5, 0])
    above.set_title("waves", loc="left")
    below.bar(["x", "y"], [0.25, 0.5])
    below.set(xlabel="place", ylabel="share")
    below.yaxis.set_major_formatter("{x:.0%}")
    assert words.words(figure) == (
        "One hill. 2 panels. place. waves. begins at 0 and ends at 0, highest 5 at 0. "
        "Axes: share against place. waves. x: 25%, y: 50%."
    )


def test_many_bars_and_cells_are_told_by_the_largest() -> None:
    left, right = plt.Figure().subplots(1, 2)
    left.bar(range(10), [1, 9, 2, 8, 3, 7, 0, 0, 0, 0])
    heatmap(right, np.array([[0.1, 0.9], [0.7, 0.3]]), xticklabels=list("ab"))
    assert words.words(left.figure) == (
        "2 panels. highest at 1: 9, 3: 8, 5: 7; the other 7 at most 3. "
        "2 × 2 cells, the largest of row 0: b (0.90), row 1: a (0.70)."
    )
