"""What a picture shows, in words, for whoever cannot see it: read off the figure's own axes, so with its own numbers.

A drawing function that knows better than the lines, bars and colours of its axes says so with `axes.set_label`. What a
listener should hear first it gives to `figure.set_label`.
"""

import html
from collections.abc import Iterator
from operator import attrgetter
from typing import Any

import numpy as np
from IPython.core.pylabtools import print_figure
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_rgb
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation

from lib.analysis.statistics import at_least

THIN = 0.8  # points; a curve as thin as this is one of several seeds, whose median is drawn, too
MANY = 6  # curves in a picture, or bars, or rows of a table: of more, less is said of each
REACHED = 0.99  # the accuracy from which an equation of a split counts as known, as for T_fit


def words(figure: Figure) -> str:
    """Panel by panel: what is measured, unless it is the same as before, the title, and what happens."""
    panels = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    short = sum(len(curves(axes)) for axes in panels) > MANY
    told, before = [figure.get_label()] + [f"{len(panels)} panels."] * (len(panels) > 1), ""
    for axes in panels:
        measured = " against ".join(filter(None, (quantity(axes, "y"), quantity(axes, "x"))))
        if measured and measured != before:
            told.append(f"{'Axes: ' * (' against ' in measured)}{measured}.")
        before = measured
        said = (title(axes), axes.get_label() or "; ".join(content(axes, short)))
        told += [f"{part}." for part in said if part]
    return " ".join(" ".join(told).split())


def forms(figure: Figure) -> tuple[dict[str, str], dict[str, Any]]:
    """A figure as an output of a notebook, (data, metadata): nothing that shows it is without its words."""
    png, alt = print_figure(figure, base64=True), words(figure)
    return {"image/png": png, "text/html": picture(png, alt), "text/plain": alt}, {"image/png": {"alt": alt}}


def picture(png: str, alt: str) -> str:
    """HTML of a PNG in base64."""
    return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{png.strip()}">'


def content(axes: Axes, short: bool) -> Iterator[str]:
    """What curves, lines across, bars and colours say by themselves."""
    named: dict[str, dict[str, list[Line2D]]] = {}
    for line in curves(axes):
        name, part = caption(axes, line)
        named.setdefault(name, {}).setdefault(part, []).append(line)
    for name, parts in named.items():
        told = (f"{part} {together(axes, lines, short)}".strip() for part, lines in parts.items())
        yield f"{name}: {', '.join(told)}".removeprefix(": ")
    notes = {text.xy[0]: text.get_text() for text in axes.texts if isinstance(text, Annotation)}
    for line in filter(lambda line: len(line.get_xdata()), axes.lines):
        [x, *_], [y, *_] = line.get_data()
        if line.get_transform() == axes.get_yaxis_transform("grid"):
            yield f"{''.join(caption(axes, line)) or 'line'} at {number(axes, 'y', y)}"
        elif line.get_transform() == axes.get_xaxis_transform("grid") and notes.get(x) != "":
            name = notes.get(x) or caption(axes, line)[0] or "line"
            yield name if "=" in name else f"{name} at {number(axes, 'x', x)}"
    yield from (heights(axes, bars) for bars in axes.containers if isinstance(bars, BarContainer))
    yield from (colours(axes, mesh) for mesh in axes.collections if isinstance(mesh, QuadMesh))


def curves(axes: Axes) -> list[Line2D]:
    """The lines to look at: neither across the axes, nor of a single seed, nor dots without a line, nor empty."""
    drawn = [line for line in axes.lines if line.get_linestyle() != "None" and line.get_linewidth() > THIN]
    drawn = [line for line in drawn if line.get_transform() == axes.transData]
    return [line for line in drawn if np.isfinite(np.asarray(line.get_ydata(), float)).any()]


def together(axes: Axes, lines: list[Line2D], short: bool) -> str:
    """The course of a line, or where several of one name begin and end."""
    if len(lines) == 1:
        return course(axes, lines[0], short)
    ends = (sorted(line.get_ydata()[place] for line in lines) for place in (0, -1))
    first, last = ("–".join(dict.fromkeys(number(axes, "y", each[place]) for place in (0, -1))) for each in ends)
    return f"{len(lines)} curves, from {first} to {last}"


def course(axes: Axes, line: Line2D, short: bool) -> str:
    """ "falls from 350 to 76, half-way at 1.2", or of an accuracy "reaches 99% at 400"."""
    x, y = (np.asarray(values, float) for values in line.get_data())
    x, y = x[np.isfinite(y)], y[np.isfinite(y)]
    first, last = number(axes, "y", y[0]), number(axes, "y", y[-1])
    if is_share(axes, "y") and y[0] < REACHED <= y.max():
        return f"{'' if short else 'reaches '}{REACHED:.0%} at {number(axes, 'x', x[np.argmax(y >= REACHED)])}"
    if short:
        return f"{first} to {last}"
    height = axes.yaxis.get_transform().transform(y)
    span, rise = np.ptp(axes.yaxis.get_transform().transform(axes.get_ylim())), height[-1] - height[0]
    told = f"begins at {first} and ends at {last}"
    if abs(rise) > span / 20:
        half = x[np.argmax((height - height[0]) / rise >= 0.5)]
        told = f"{'rises' if rise > 0 else 'falls'} from {first} to {last}, half-way at {number(axes, 'x', half)}"
    for kind, at, beyond in (
        ("highest", y.argmax(), height.max() - height[[0, -1]].max()),
        ("lowest", y.argmin(), height[[0, -1]].min() - height.min()),
    ):
        if beyond > span / 10:
            told += f", {kind} {number(axes, 'y', y[at])} at {number(axes, 'x', x[at])}"
    return told


def heights(axes: Axes, bars: BarContainer) -> str:
    """All bars with their names, or the three longest of many."""
    upright = bars.orientation == "vertical"
    values = np.array([bar.get_height() if upright else bar.get_width() for bar in bars])
    middles = [bar.get_center()[0 if upright else 1] for bar in bars]
    names = (axes.xaxis if upright else axes.yaxis).get_major_formatter().format_ticks(middles)
    way, order = "y" if upright else "x", range(len(bars)) if len(bars) <= MANY else values.argsort()[:-4:-1]
    told = ", ".join(f"{names[i]}: {number(axes, way, values[i])}" for i in order)
    if len(bars) <= MANY:
        return told
    return f"highest at {told}; the other {len(bars) - 3} at most {number(axes, way, np.sort(values)[-4])}"


def colours(axes: Axes, mesh: QuadMesh) -> str:
    """The largest value of each row of a table, or the range of many rows."""
    values = np.asarray(mesh.get_array())
    told = f"{values.shape[0]} × {values.shape[1]} cells"
    if len(values) > 2 * MANY:
        return f"{told} from {np.nanmin(values):g} to {np.nanmax(values):g}"
    columns = [text.get_text() for text in axes.get_xticklabels()]
    name, places = quantity(axes, "y") or "row", enumerate(values.argmax(1))
    most = (f"{name} {row}: {columns[i]} ({values[row, i]:.2f})" for row, i in places)
    return f"{told}, the largest of {', '.join(most)}"


def caption(axes: Axes, line: Line2D) -> tuple[str, str]:
    """The name of a line: its label, or as the legend has it by colour and dashes; and after "_" what that omits."""
    own = line.get_label()
    if not own.startswith("_"):
        return own, ""
    named = []
    for legend in [axes.get_legend()] if axes.get_legend() else axes.figure.legends:
        for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=True):
            drawn = isinstance(handle, Line2D) and handle.get_linestyle() != "None"
            if drawn and to_rgb(handle.get_color()) == to_rgb(line.get_color()):
                named.append((handle.get_linestyle() != line.get_linestyle(), text.get_text()))
    name, part = min(named, default=("", ""))[1], "" if own.startswith("_child") else own[1:]
    return (name, part) if name and name != part else (part, "")


def title(axes: Axes) -> str:
    """That of the panel, or else of the one above it."""
    above = in_line(axes, "x")
    titles = (other.get_title(place) for other in above[above.index(axes) :: -1] for place in ("left", "center"))
    return next(filter(None, titles), "").replace("\n", ", ")


def quantity(axes: Axes, way: str) -> str:
    """What is measured along "x" or "y", as written below the column, or beside a row of equal axes."""
    others = [other for other in in_line(axes, way) if way == "x" or other.get_ylim() == axes.get_ylim()]
    name = next(filter(None, (getattr(other, f"get_{way}label")() for other in (axes, *others))), "")
    return name + " on a log scale" * (name != "" and getattr(axes, f"get_{way}scale")() == "log")


def in_line(axes: Axes, way: str) -> list[Axes]:
    """The panels of the same column ("x") or row ("y"), this one among them."""
    place = attrgetter("colspan" if way == "x" else "rowspan")
    panels = [other for other in axes.figure.axes if other.get_subplotspec()]
    own = axes.get_subplotspec()
    return [other for other in panels if own and place(other.get_subplotspec()) == place(own)] or [axes]


def is_share(axes: Axes, way: str) -> bool:
    return getattr(axes, f"{way}axis").get_major_formatter()(0.5).endswith("%")


def number(axes: Axes, way: str, value: float) -> str:
    """A value as the axis has it, in per cent or not; what is not all is not called 100%."""
    if is_share(axes, way):
        return at_least(value).replace(".0%", "%")
    return f"{value:,.0f}" if abs(value) >= 1000 or value == round(value) else f"{value:.3g}"
