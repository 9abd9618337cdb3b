"""Pictures of what a network that divides holds inside."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from lib import arithmetic, characters, inside, plots
from lib.config import DataConfig
from lib.inside import Inside
from lib.sweeps import Cells


def tables(data: DataConfig) -> Figure:
    """The answers of all equations, with the numbers in their own order and in that of their logarithms."""
    rows = arithmetic.equations(data.operation, data.p)
    rows = rows[(rows[:, :2] > 0).all(1)]
    logs = characters.logarithms(data.p)
    figure, (left, right) = plt.subplots(1, 2, figsize=(6, 3))
    for axes, shown in ((left, rows - 1), (right, logs[rows])):
        cells = np.empty((data.p - 1, data.p - 1))
        cells[shown[:, 0], shown[:, 1]] = shown[:, 2]
        axes.imshow(cells, cmap="twilight", interpolation="nearest")
        axes.grid(False)
        axes.set(xticks=[], yticks=[])
    left.set(xlabel="b = 1 … 96", ylabel="a = 1 … 96")
    left.set_title("colour: c")
    right.set(xlabel="log b = 0 … 95", ylabel="log a = 0 … 95")
    right.set_title("colour: log c")
    return figure


def spectra(seen: Inside) -> Figure:
    """The spectrum of the embedding, its numbers in order of their logarithms and in their own."""
    own = np.argsort(inside.order(seen.data))
    figure, panels = plt.subplots(1, 2, figsize=(7.4, 2.3), sharey=True)
    for axes, table, title in (
        (panels[0], seen.embedding, "multiplicative characters"),
        (panels[1], seen.embedding[own], "integer Fourier basis"),
    ):
        shares = characters.spectrum(table)
        axes.bar(np.arange(1, len(shares) + 1), shares, color=plots.BLUE, width=0.9)
        axes.set_axisbelow(True)
        axes.set_title(f"{title}: Gini {characters.gini(shares):.2f}")
        axes.set_xlabel("frequency k")
    panels[0].set_ylabel("share of the power")
    panels[0].yaxis.set_major_formatter(PercentFormatter(1.0))
    return figure


def circles(seen: Inside, frequencies: Sequence[int]) -> Figure:
    """The embedding in the planes of some characters; a line joins numbers whose angles follow one another."""
    n = len(seen.embedding)
    figure, panels = plt.subplots(1, len(frequencies), figsize=(2.5 * len(frequencies), 2.6))
    for axes, k in zip(np.atleast_1d(panels), frequencies, strict=True):
        x, y = plane(seen.embedding, k)
        angle = np.arange(n) * k % n
        order = np.append(np.argsort(angle, kind="stable"), 0)
        axes.plot(x[order], y[order], color="#cccccc", lw=0.6, zorder=1)
        axes.scatter(x, y, c=angle, cmap="twilight", s=10, zorder=2)
        axes.set(aspect="equal", xticks=[], yticks=[], xlabel="cos direction", ylabel="sin direction")
        axes.grid(False)
        axes.set_title(f"k = {k}")
    return figure


def plane(embedding: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (n,) of the rows of (n, D) in the plane of what varies as cos and sin of frequency k."""
    n = len(embedding)
    angle = 2 * np.pi * k * np.arange(n) / n
    directions = np.stack([np.cos(angle), np.sin(angle)]) @ embedding  # (2, D)
    basis, _ = np.linalg.qr(directions.T)
    x, y = ((embedding - embedding.mean(0)) @ basis).T
    return x, y


def logit_waves(seen: Inside) -> Figure:
    """What the logits owe to s = log a - log b - log c, and the cosines that make it up."""
    n = len(seen.embedding)
    means, explained = characters.profile(seen.logits[:, :, :n])
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.4, 2.3))
    left.plot(np.arange(n) - n // 2, np.roll(means, n // 2), color=plots.BLUE, lw=1)
    left.set(xlabel="log a − log b − log c", ylabel="mean logit")
    left.set_title(f"explains {explained:.0%} of the variance")
    amplitudes = 2 * np.fft.rfft(means).real / n
    right.bar(np.arange(1, n // 2 + 1), amplitudes[1:], color=plots.BLUE, width=0.9)
    right.set_axisbelow(True)
    right.set(xlabel="frequency k", ylabel="α_k")
    right.set_title("as a sum of cosines")
    return figure


def neurons(networks: Mapping[str, Inside]) -> Figure:
    """How much of a neuron's variance its best frequency explains, layer by layer."""
    figure, axes = plt.subplots(figsize=(5, 2.4))
    for (name, seen), color in zip(networks.items(), plots.COLORS, strict=False):
        for layer, activations in enumerate(seen.neurons, 1):
            shares = np.sort(characters.purity(activations)[1])
            label = f"{name}, layer {layer}" if len(seen.neurons) > 1 else name
            dash = "-" if layer == len(seen.neurons) else ":"
            axes.plot(shares, 1 - np.arange(len(shares)) / len(shares), dash, color=color, lw=1.4, label=label)
    axes.axvline(0.85, color=plots.GREY, lw=0.8, ls=":")
    axes.set(xlabel="share of the variance in one frequency", ylabel="neurons with at least so much")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.legend(fontsize=7, bbox_to_anchor=(1, 1), loc="upper left")
    return figure


def attention(networks: Mapping[str, Inside]) -> Figure:
    """Mean attention of each head from "=" to a, o, b and "=", and how far it varies between equations."""
    layers = [(f"{name}\nlayer {i}", x) for name, seen in networks.items() for i, x in enumerate(seen.attention, 1)]
    figure, panels = plt.subplots(1, len(layers), figsize=(1.7 * len(layers), 2.2), sharey=True)
    for axes, (title, weights) in zip(np.atleast_1d(panels), layers, strict=True):
        mean, spread = weights.mean((0, 1)), weights.std((0, 1))  # (H, 4)
        axes.imshow(mean, cmap="Blues", vmin=0, vmax=1)
        for (head, token), value in np.ndenumerate(mean):
            text = f"{value:.2f}\n±{spread[head, token]:.2f}"
            axes.text(
                token, head, text, ha="center", va="center", fontsize=5, color="white" if value > 0.6 else "black"
            )
        axes.set(xticks=range(4), xticklabels=["a", "/", "b", "="], yticks=range(len(mean)))
        axes.grid(False)
        axes.set_title(title, fontsize=7)
    np.atleast_1d(panels)[0].set_ylabel("head")
    return figure


def phases(progress: Mapping[int, Mapping[str, float]], marks: Mapping[str, int]) -> Figure:
    """The losses of `inside.progress` against steps, and Gini's coefficient of the embedding below."""
    figure, (above, below) = plt.subplots(2, 1, figsize=(5.6, 3.6), sharex=True, height_ratios=(2, 1))
    steps = list(progress)
    for name, color, dash in (
        ("train", plots.GREY, "-"),
        ("test", plots.GREY, "--"),
        ("restricted", plots.BLUE, "-"),
        ("excluded", plots.RED, "-"),
    ):
        above.plot(steps, [row[name] for row in progress.values()], dash, color=color, label=name)
    below.plot(steps, [row["gini"] for row in progress.values()], color=plots.BLUE)
    for axes in (above, below):
        plots.log_steps(axes)
        for name, step in marks.items():
            plots.mark(axes, step, name if axes is above else "", "left")
    above.set(yscale="log", xlabel="", ylabel="loss (nats)")
    above.legend(fontsize=7, ncols=2)
    below.set_ylabel("Gini, embedding")
    return figure


def seeds_frequencies(networks: Sequence[Inside]) -> Figure:
    """The share of each frequency in the logits, a row per seed."""
    shares = [characters.family_spectrum(seen.logits - seen.logits.mean(2, keepdims=True)) for seen in networks]
    figure, axes = plt.subplots(figsize=(6.4, 2.2))
    image = axes.imshow(
        shares,
        aspect="auto",
        cmap="Blues",
        interpolation="nearest",
        extent=(0.5, len(shares[0]) + 0.5, len(shares) - 0.5, -0.5),
    )
    axes.set(xlabel="frequency k", ylabel="seed", yticks=range(len(shares)))
    axes.grid(False)
    figure.colorbar(image, label="share", format=PercentFormatter(1.0))
    return figure


def arrival(cells: Cells) -> Figure:
    """Share of runs that have grokked against steps, one curve per cell."""
    figure, axes = plt.subplots(figsize=(4.6, 2.4))
    for (name, runs), color in zip(cells.items(), plots.COLORS, strict=False):
        at = sorted(run.t_grok for run in runs if run.t_grok is not None)
        axes.step([min(at) * 0.8, *at], np.arange(len(at) + 1) / len(runs), where="post", color=color, label=name)
    axes.set(ylim=(0, 1.03), ylabel="share of seeds that have grokked")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    plots.log_steps(axes)
    axes.legend(fontsize=8)
    return figure
