"""Pictures of what a network that divides holds inside."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lib import tasks
from lib.analysis import characters, statistics
from lib.analysis.cells import Cells, censored
from lib.analysis.inside import Inside, Progress
from lib.config import DataConfig
from lib.figures.style import BLUE, COLORS, GREY, ORANGE, PURPLE, RED, heatmap, log_steps, mark

ATTENTION = {"cmap": "Blues", "vmin": 0, "vmax": 1, "annot_kws": {"fontsize": 7}}  # of a table of attention
LOSSES = {"train": (GREY, "-"), "unseen": (GREY, "--"), "restricted": (BLUE, "-"), "excluded": (RED, "-")}


def tables(data: DataConfig) -> Figure:
    """The answers of all equations, with the numbers in their own order and in that of their logarithms."""
    rows = tasks.equations(data.operation, data.p)
    rows = rows[(rows[:, :2] > 0).all(1)]
    logs = characters.logarithms(data.p)
    figure, (left, right) = plt.subplots(1, 2, figsize=(6, 3))
    for axes, shown in ((left, rows - 1), (right, logs[rows])):
        cells = np.empty((data.p - 1, data.p - 1))
        cells[shown[:, 0], shown[:, 1]] = shown[:, 2]
        heatmap(axes, cells, cmap="twilight", xticklabels=False, yticklabels=False)
        neighbours = np.roll(cells, 1, (0, 1))  # one down, one across
        axes.set_label(
            f"{(cells == neighbours).mean():.0%} of the cells have the colour of the next one on the diagonal"
        )
    left.set(xlabel=f"b = 1 … {data.p - 1}", ylabel="a", title="colour: c")
    right.set(xlabel=f"log b = 0 … {data.p - 2}", ylabel="log a", title="colour: log c")
    return figure


def spectra(seen: Inside) -> Figure:
    """The spectrum of the embedding, its numbers in order of their logarithms and in their own."""
    figure, panels = plt.subplots(1, 2, figsize=(5.74, 1.8), sharey=True)
    bases = {"along the logarithms": seen.in_order, "along the integers": seen.embedding}
    for axes, (title, table) in zip(panels, bases.items(), strict=True):
        shares = characters.spectrum(table)
        axes.bar(np.arange(1, len(shares) + 1), shares, color=BLUE, width=0.9)
        axes.set(title=f"{title}: Gini {characters.gini(shares):.2f}", xlabel="frequency k")
    panels[0].set_ylabel("share of the power")
    panels[0].yaxis.set_major_formatter("{x:.1%}")
    return figure


def circles(networks: Mapping[str, Inside], frequencies: Sequence[int]) -> Figure:
    """The embeddings (a row per network) in the planes of some characters, `plane`, coloured by the angle."""
    rows, columns = len(networks), len(frequencies)
    figure, panels = plt.subplots(rows, columns, figsize=(1.4 * columns, 1.4 * rows + 0.2), squeeze=False)
    for row, (name, seen) in zip(panels, networks.items(), strict=True):
        shares = characters.spectrum(seen.in_order)
        for axes, k in zip(row, frequencies, strict=True):
            circle(axes, seen.in_order, k, seen.in_order)
            axes.set_title(f"k = {k}, {shares[k - 1]:.0%} of power", fontsize=7)
        row[0].set_ylabel(name)
    return figure


def circle(axes: Axes, embedding: np.ndarray, k: int, largest: np.ndarray) -> None:
    """The rows of an embedding (n, D) in the `plane` of k, coloured by angle. The axes hold the rows of `largest`."""
    n, limit = len(embedding), 1.1 * abs(plane(largest, k)).max()
    axes.scatter(*plane(embedding, k), c=np.arange(n) * k % n, cmap="twilight", s=6)
    axes.set(aspect="equal", xticks=[0], yticks=[0], xticklabels=[], yticklabels=[])
    distances = np.hypot(*plane(embedding, k))
    told = f"{n} dots, whose distances from the centre vary by {distances.std() / distances.mean():.0%}"
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), label=told)


def plane(embedding: np.ndarray, k: int) -> np.ndarray:
    """Coordinates (2, n) of the rows of (n, D) in the plane of what varies as cos and sin of frequency k.

    The plane for each half of the rows, drawn by lot, is fitted to the other half: with D > n, directions that make a
    circle of the rows they are fitted to can be found in noise.
    """
    n = len(embedding)
    angle = 2 * np.pi * k * np.arange(n) / n
    waves = np.stack([np.cos(angle), np.sin(angle)])  # (2, n)
    centred = embedding - embedding.mean(0)
    half = np.random.RandomState(0).permutation(n) < n // 2
    points = np.empty((n, 2))
    for ours in (half, ~half):
        directions = waves[:, ~ours] @ centred[~ours]  # (2, D)
        points[ours] = centred[ours] @ (directions / np.linalg.norm(directions, axis=1, keepdims=True)).T
    return points.T


def logit_waves(seen: Inside) -> Figure:
    """What the logits owe to s = log a - log b - log c, and the cosines that make it up."""
    n = len(seen.in_order)
    means, explained = characters.profile(seen.logits[:, :, :n])
    figure, (left, right) = plt.subplots(1, 2, figsize=(5.74, 1.8))
    left.plot(np.arange(n) - n // 2, np.roll(means, n // 2), color=BLUE, lw=1)
    left.set(xlabel="log a − log b − log c", ylabel="mean logit", title=f"explains {explained:.0%} of the variance")
    amplitudes, share = characters.cosines(means)
    right.bar(np.arange(1, n // 2 + 1), amplitudes, color=BLUE, width=0.9)
    right.set(xlabel="frequency k", ylabel="α_k", title=f"as a sum of cosines ({share:.1%} of it)")
    return figure


def neurons(networks: Mapping[str, Inside]) -> Figure:
    """How much of a neuron's variance its best frequency explains, layer by layer."""
    figure, axes = plt.subplots(figsize=(5, 2.4))
    for (name, seen), color in zip(networks.items(), COLORS, strict=False):
        for layer, activations in enumerate(seen.neurons, 1):
            label = f"{name}, layer {layer}" if len(seen.neurons) > 1 else name
            dash = "-" if layer == len(seen.neurons) else ":"
            shares = characters.purity(activations)[1]
            sns.ecdfplot(x=shares, complementary=True, ax=axes, color=color, ls=dash, label=label)
    axes.axvline(0.85, color=GREY, lw=0.8, ls=":", label="called pure from here")
    axes.set(xlabel="share of the variance in one frequency", ylabel="neurons with at least so much")
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.legend(bbox_to_anchor=(1, 1), loc="upper left")
    return figure


def attention(networks: Mapping[str, Inside]) -> Figure:
    """Mean attention of each head from "=" to a, o, b and "=", and how far it varies between equations."""
    layers = [(f"{name}\nlayer {i}", x) for name, seen in networks.items() for i, x in enumerate(seen.attention, 1)]
    figure, panels = plt.subplots(1, len(layers), figsize=(1.7 * len(layers), 2.1), sharey=True)
    for axes, (title, weights) in zip(np.atleast_1d(panels), layers, strict=True):
        mean, deviation = weights.mean((0, 1)), weights.std((0, 1))  # (H, 4)
        told = [f"{value:.2f}\n±{spread:.2f}" for value, spread in zip(mean.flat, deviation.flat, strict=True)]
        heatmap(axes, mean, annot=np.reshape(told, mean.shape), fmt="", xticklabels=list("a/b="), **ATTENTION)
        axes.set_title(title)
    np.atleast_1d(panels)[0].set_ylabel("head")
    return figure


def phases(networks: Mapping[str, tuple[Progress, Mapping[str, int | None]]]) -> Figure:
    """A column per network: `inside.progress` against steps, with two moments of the run marked."""
    size = (2.12 * len(networks), 2.65)
    figure, panels = plt.subplots(2, len(networks), figsize=size, sharex=True, sharey="row", height_ratios=(3, 2))
    for (above, below), (title, (progress, marks)) in zip(panels.reshape(2, -1).T, networks.items(), strict=True):
        steps = list(progress)
        for name, (color, dash) in LOSSES.items():
            above.plot(steps, [row[name] for row in progress.values()], dash, color=color, label=name)
        gini = [row["gini"] for row in progress.values()]
        below.plot(steps, gini, color=BLUE)
        told = (f"{name} at {step:,}" for name, step in marks.items() if step is not None)
        below.set_label("; ".join([f"{gini[0]:.2f} to {gini[-1]:.2f}", *told]))
        for axes in (above, below):
            log_steps(axes)
            for (name, step), side, height in zip(marks.items(), ("left", "right"), (0.7, 0.3), strict=True):
                mark(axes, step, name if axes is below else "", side, height)
        above.set(xlabel="", title=title)
    first = panels.reshape(2, -1)[:, 0]
    first[0].set_ylabel("loss (nats)")
    first[1].set_ylabel("Gini, embedding")
    figure.legend(*first[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def attention_while_learning(progress: Progress, marks: Mapping[str, int | None]) -> Figure:
    """A panel per head: its mean attention from "=" to a, o, b and "=" against steps."""
    weights = np.array([row["attention"] for row in progress.values()])  # (steps, H, 4)
    figure, panels = plt.subplots(1, weights.shape[1], figsize=(1.4 * weights.shape[1] + 0.4, 1.75), sharey=True)
    for head, axes in enumerate(np.atleast_1d(panels)):
        for token, color in enumerate((BLUE, GREY, ORANGE, PURPLE)):
            axes.plot(list(progress), weights[:, head, token], color=color, label="a/b="[token], lw=1.3)
        log_steps(axes)
        for step in marks.values():
            mark(axes, step, "", "left")
        axes.set(ylim=(0, 1), title=f"head {head}")
    np.atleast_1d(panels)[0].set_ylabel("attention from =")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def seeds_frequencies(spectra: Mapping[int, np.ndarray]) -> Figure:
    """The share of each frequency in the logits' dependence on log a - log b, a row per seed."""
    shares = list(spectra.values())
    figure, axes = plt.subplots(figsize=(3.95, 1.6))
    bar = {"label": "share", "format": "{x:.0%}"}
    heatmap(axes, shares, cmap="Blues", square=False, yticklabels=list(spectra), cbar=True, cbar_kws=bar)
    tens = np.arange(10, len(shares[0]) + 1, 10)
    axes.set(xticks=tens - 0.5, xticklabels=tens, xlabel="frequency k", ylabel="seed")
    top = {seed: int(np.argmax(row)) for seed, row in spectra.items()}
    told = (f"seed {seed}: {k + 1} ({spectra[seed][k]:.0%})" for seed, k in top.items())
    axes.set_label(f"strongest frequency, and its share, of {', '.join(told)}")
    return figure


def arrival(cells: Cells) -> Figure:
    """Share of runs that have grokked against steps (one minus Kaplan-Meier's estimate), one curve per cell."""
    figure, axes = plt.subplots(figsize=(4.6, 2.4))
    for (name, runs), color in zip(cells.items(), COLORS, strict=False):
        rows = statistics.kaplan_meier(*censored(runs, "t_grok"))
        points = [(1.0, 0.0), *((time, 1 - share) for time, share, _ in rows)]
        points.append((max(run.metrics["step"][-1] for run in runs), points[-1][1]))
        axes.step(*zip(*points, strict=True), where="post", color=color, label=name)
    log_steps(axes)
    axes.set(xlim=(100, None), ylim=(0, 1.03), ylabel="seeds that have grokked")
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.legend()
    return figure
