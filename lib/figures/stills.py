"""What the widgets show, as figures that can stand without them."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure

from lib.analysis import characters, equations, inside
from lib.config import RunConfig, TrainConfig
from lib.figures import grokking
from lib.figures.curves import learning_curves
from lib.figures.inside import ATTENTION, circle
from lib.figures.style import BLUE, GREEN, GREY, RED, accuracy_axis, heatmap, log_axis, log_steps
from lib.language.networks import Network
from lib.language.tokenizers import pieces
from lib.model import Transformer
from lib.runs.run import Run
from lib.sampling import answer_probabilities, encode_prompt, generate
from lib.support.errors import UserError
from lib.tasks import load_equations
from lib.tokenizer import Tokenizer
from lib.training.trainer import likeliest_tokens, make_objective
from lib.training.weights import load_weights

LIKELIEST = 5


def answer_picture(model: Network, tokenizer: Tokenizer, config: RunConfig, a: int, b: int) -> Figure:
    """The likeliest answers to a o b, the right one marked, and what each head, if there are any, looks at from "="."""
    data = config.data
    true = equations.right_answer(data, a, b)[0]
    probabilities = answer_probabilities(model, tokenizer, data, a, b)
    top = probabilities.topk(min(LIKELIEST, data.p))
    prompt = tokenizer.encode(f"{a}{data.sign}{b}=")
    attention = inside.at_last(model, torch.tensor([prompt])).attention if isinstance(model, Transformer) else []
    widths = [1.9, *[0.31 * len(prompt)] * len(attention)]
    figure, panels = plt.subplots(1, len(widths), figsize=(1.2 + sum(widths), 1.75), width_ratios=widths)
    bars, *heads = np.atleast_1d(panels)
    numbers, shares = [str(number) for number in top.indices.tolist()], top.values.tolist()
    rights = [number == str(true) for number in numbers]
    told = [f"{p:{'.4f' if p > 1e-3 else '.0e'}}{', right' * right}" for p, right in zip(shares, rights, strict=True)]
    bars.bar_label(bars.barh(numbers, shares, color=[GREEN if right else GREY for right in rights]), told, padding=3)
    bars.invert_yaxis()
    bars.grid(axis="y", visible=False)
    elsewhere = "" if str(true) in numbers else f"  ({true}: {probabilities[true]:.1g})"
    title = f"{a}{data.sign}{b} = {numbers[0]}{elsewhere}"
    bars.set(xlim=(0, 1.6), xticks=[0, 0.5, 1], xlabel="probability", title=title)
    bars.set_label(", ".join(f"{number}: {words}" for number, words in zip(numbers, told, strict=True)))
    names = [tokenizer.decode([token]) for token in prompt]
    for layer, (axes, weights) in enumerate(zip(heads, attention, strict=True), 1):
        heatmap(axes, weights[0].numpy(), annot=True, fmt=".2f", xticklabels=names, square=False, **ATTENTION)
        axes.set_title(f"attention, layer {layer}")
    if heads:
        heads[0].set_ylabel("head")
    return figure


def spell(model: Network, tokenizer: Tokenizer, prompt: str, n_tokens: int, **options: Any) -> list[tuple[str, float]]:
    """One sample as its new tokens and the probability of each; the last may be "<eos>". Options: `generate`.

    Tokens that share a character of several bytes are one piece of text, whose probability is their product.
    """
    ids = encode_prompt(model, tokenizer, prompt)
    tokens, given = torch.tensor([ids], device=next(model.parameters()).device), ids[tokenizer.bos is not None :]
    new = [(int(ids), float(p)) for ids, p in generate(model, tokens, n_tokens, eos=tokenizer.eos, **options)]
    said = [token for token, _ in new if token != tokenizer.eos]
    told, chance = [], 1.0
    for piece, (_, p) in zip([*pieces(tokenizer, given + said)[len(given) :], "<eos>"], new, strict=False):
        chance *= p
        if piece:
            told.append((piece, chance))
            chance = 1.0
    return told


def spelled(prompt: str, tokens: Sequence[tuple[str, float]]) -> Figure:
    """A sample token by token, each with its probability as a bar."""
    figure, axes = plt.subplots(figsize=(max(3.0, 0.22 * len(tokens) + 1), 1.9))
    axes.bar(range(len(tokens)), [p for _, p in tokens], color=BLUE)
    shown = [token.replace(" ", "␣").replace("\n", "⏎").replace("<eos>", "eos") for token, _ in tokens]
    axes.set_xticks(range(len(tokens)), shown, rotation=90 if max(map(len, shown)) > 3 else 0, parse_math=False)
    axes.set_title(f"after {prompt!r}" if prompt else "from the beginning", parse_math=False)
    axes.set(ylim=(0, 1.05), ylabel="probability")
    axes.set_label(", ".join(f"{token} {p:.0%}" for token, (_, p) in zip(shown, tokens, strict=True)))
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.grid(axis="x", visible=False)
    return figure


@lru_cache(maxsize=256)
def seen_at(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """From a weights file: `grokking.verdicts` (p, p), and the embedding (p - 1, D) in order of the logarithms."""
    model, _, config = load_weights(path)
    data = load_equations(config.data)
    objective = make_objective(model, data, TrainConfig())
    given = {name: likeliest_tokens(objective, split).numpy() for name, split in data.splits.items()}
    embedding = model.embed.weight.detach().numpy()
    return grokking.verdicts(config.data, given)[0], embedding[characters.powers(config.data.p)]


def moment(run: Run, step: int) -> Figure:
    """A run that divides, at a step at which it kept its weights: accuracy, loss, all its answers, and its embedding.

    The embedding in the plane of the character that is strongest at the end. Raises UserError unless the network
    divides, number by number, and kept its weights at that step.
    """
    data, snapshots = run.config.data, run.snapshots
    if (data.task, data.operation, data.tokenizer) != ("arithmetic", "/", "number"):
        raise UserError(f"data.operation = {data.operation}: must be / on number tokens for this picture")
    if step not in snapshots:
        raise UserError(f"step {step}: must be one at which {run.path} kept its weights: {list(snapshots)}")
    cells, embedding = seen_at(snapshots[step])
    final = seen_at(list(snapshots.values())[-1])[1]
    k = int(characters.spectrum(final).argmax()) + 1
    figure, (accuracy, loss, table, plot) = plt.subplots(1, 4, figsize=(7.4, 2.2), width_ratios=(1.25, 1.25, 1, 1))
    grokking.draw_table(table, cells)  # first: seaborn.heatmap draws the whole figure, as far as there is one
    for axes, metric in ((accuracy, "acc"), (loss, "loss")):
        learning_curves(axes, [run], metric, BLUE)
        log_steps(axes)
        axes.axvline(step, color=RED, lw=1)
    accuracy_axis(accuracy)
    accuracy.set_title("train solid, test dashed")
    log_axis(loss, "y")
    loss.set(ylabel="loss (nats)", title=f"step {step:,}")
    grokking.legend_of_kinds(figure)
    table.set(ylabel="a", title="its answers")
    circle(plot, embedding, k, final)
    plot.set_title(f"embedding, k = {k}")
    return figure
