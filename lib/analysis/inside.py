"""What a network that divides holds inside, with the numbers in the order of their logarithms."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lib import tasks
from lib.analysis import characters
from lib.config import DataConfig, RunConfig
from lib.model import Transformer, rotate
from lib.runs.run import Run
from lib.support.errors import UserError
from lib.support.files import write_json
from lib.tokenizer import Tokenizer
from lib.training.weights import load_weights

MEASURED = "inside.json"  # in a run's folder
Progress = Mapping[int, Mapping[str, Any]]  # step -> what was measured then


class AtLast(NamedTuple):
    """What a network computes at the last token of each of B sequences of T tokens."""

    logits: Tensor  # (B, V)
    neurons: list[Tensor]  # per layer (B, F), after the activation
    attention: list[Tensor]  # per layer (B, H, T), to each token


def at_last(model: Transformer, tokens: Tensor) -> AtLast:
    """tokens: (B, T) int64, without padding."""
    (B, T), H = tokens.shape, model.config.n_heads
    neurons, queries, keys, weights = [], [], [], []
    with ExitStack() as hooks, torch.no_grad():
        for block in model.blocks:
            down, query, key = block.feed_forward.down, block.attention.query, block.attention.key
            hooks.enter_context(down.register_forward_pre_hook(lambda _, inputs: neurons.append(inputs[0][:, -1])))
            hooks.enter_context(query.register_forward_hook(lambda _, inputs, output: queries.append(output)))
            hooks.enter_context(key.register_forward_hook(lambda _, inputs, output: keys.append(output)))
        logits = model(tokens)[:, -1]
    for q, k in zip(queries, keys, strict=True):
        q, k = (x.view(B, T, H, -1).transpose(1, 2) for x in (q, k))  # (B, H, T, d)
        if model.config.positions == "rope":
            q, k = (rotate(x, torch.arange(T)) for x in (q, k))
        scores = torch.einsum("bhd,bhtd->bht", q[:, :, -1], k) / q.shape[-1] ** 0.5
        weights.append(scores.softmax(-1))
    return AtLast(logits, neurons, weights)


@dataclass(frozen=True)
class Inside:
    """A network that divides, at all pairs (a, b) but those with a 0, both in the order of their logarithms.

    n = p - 1 of each; H heads, V tokens in the vocabulary.
    """

    data: DataConfig
    logits: np.ndarray  # (n, n, V): first of the n numbers in the same order, then of 0 and all other tokens
    neurons: list[np.ndarray]  # per layer (n, n, F), after the activation, at "="
    attention: list[np.ndarray]  # per layer (n, n, H, 4), from "=" to a, o, b and itself
    embedding: np.ndarray  # (p, D), in the order 0 … p - 1
    zero: np.ndarray  # (p - 1,) bool: is 0 / b answered with 0? b = 1 … p - 1

    @cached_property
    def right_answers(self) -> np.ndarray:
        """(n, n) the logarithm of the right answer: division is subtraction of logarithms."""
        n = self.data.p - 1
        return np.subtract.outer(np.arange(n), np.arange(n)) % n

    @cached_property
    def trained_on(self) -> np.ndarray:
        """(n, n) bool: is the equation in the train split?"""
        rows = characters.logarithms(self.data.p)[tasks.split(self.data)["train"][:, :2]]
        seen = np.zeros(self.logits.shape[:2], bool)
        seen[tuple(rows[(rows >= 0).all(1)].T)] = True
        return seen

    @property
    def in_order(self) -> np.ndarray:
        """(n, D) the embedding without 0, in the order of the logarithms."""
        return self.embedding[characters.powers(self.data.p)]

    def accuracy(self, logits: np.ndarray) -> float:
        """Share of all pairs whose right answer is the likeliest under `logits` (n, n, V)."""
        return float((logits.argmax(2) == self.right_answers).mean())

    def loss(self, logits: np.ndarray, where: np.ndarray) -> float:
        """Cross-entropy in nats under `logits` (n, n, V) over the pairs `where` (n, n) bool."""
        return F.cross_entropy(torch.tensor(logits[where]), torch.tensor(self.right_answers[where])).item()


def look(model: Transformer, tokenizer: Tokenizer, config: RunConfig) -> Inside:
    """Run a network on all pairs. Raises UserError unless it divides, number by number."""
    data, flat = config.data, config.flat()
    needed = {"data.task": "arithmetic", "data.operation": "/", "data.tokenizer": "number", "data.own_b": False}
    needed |= {"model.kind": "transformer"}
    for field, wanted in needed.items():
        if flat[field] != wanted:
            raise UserError(f"{field} = {flat[field]}: must be {wanted} to look inside")
    numbers, n = characters.powers(data.p), data.p - 1
    op, equals = tokenizer.encode("/=")
    a, b = (grid.ravel() for grid in np.meshgrid(numbers, numbers, indexing="ij"))
    seen = at_last(model, torch.tensor(np.stack([a, np.full(n * n, op), b, np.full(n * n, equals)], axis=1)))
    with torch.no_grad():
        zero = model(torch.tensor([[0, op, b, equals] for b in range(1, data.p)]), last=True).argmax(1) == 0
    others = np.setdiff1d(np.arange(seen.logits.shape[1]), numbers)
    return Inside(
        data=data,
        logits=seen.logits[:, np.concatenate([numbers, others])].reshape(n, n, -1).numpy(),
        neurons=[x.reshape(n, n, -1).numpy() for x in seen.neurons],
        attention=[x.reshape(n, n, *x.shape[1:]).numpy() for x in seen.attention],
        embedding=model.embed.weight.detach().numpy()[: data.p],
        zero=zero.numpy(),
    )


def losses(inside: Inside) -> dict[str, float]:
    """Losses in nats of a network and of the two parts of its logits, the rule and what is remembered.

    train, unseen  of all logits, over the train split and over all other equations
    restricted     of the rule, over all equations: the mean logits of unseen equations with the same log a - log b
    excluded       of the logits less the rule, whose mean stays, over the train split

    Restricted and excluded loss are after Nanda et al. 2023 (arXiv 2301.05217), who for addition keep or take away the
    frequencies that the trained network uses. A mean needs no choice of frequencies. The mean over unseen equations is
    blind to what is remembered: it finds no rule in a network that has learned the others by heart.
    """
    logits, seen = inside.logits, inside.trained_on
    rule = characters.averaged(logits, ~seen)
    return {
        "train": inside.loss(logits, seen),
        "unseen": inside.loss(logits, ~seen),
        "restricted": inside.loss(rule, seen | ~seen),
        "excluded": inside.loss(logits - rule + rule.mean((0, 1)), seen),
    }


def measures(inside: Inside) -> dict[str, float]:
    """Structure of the embedding and the logits, and the accuracy that parts of the logits reach alone.

    Gini coefficient of the embedding's spectrum: `gini` in the basis of the characters, `gini_integers` in that of the
    integers. `explained`: share of the logits' variance that log a - log b - log c explains. Accuracy on all equations
    without 0: `whole` of the logits; `difference` of their mean over unseen equations with the same log a - log b;
    `sum`, the control, of the mean for log a + log b; `left` of the logits without the part called `difference`.
    Accuracy on 0 / b: `zero_seen` in the train split, `zero_unseen` outside.
    """
    logits, unseen = inside.logits, ~inside.trained_on
    rule = characters.averaged(logits, unseen)
    rows = tasks.split(inside.data)["train"]
    seen = np.isin(np.arange(1, inside.data.p), rows[rows[:, 0] == 0, 1])
    return {
        "gini": characters.gini(characters.spectrum(inside.in_order)),
        "gini_integers": characters.gini(characters.spectrum(inside.embedding)),
        "explained": characters.profile(logits[:, :, : inside.data.p - 1])[1],
        "whole": inside.accuracy(logits),
        "difference": inside.accuracy(rule),
        "sum": inside.accuracy(characters.averaged(logits, unseen, sign=1)),
        "left": inside.accuracy(logits - rule + rule.mean((0, 1))),
        "zero_seen": float(inside.zero[seen].mean()),
        "zero_unseen": float(inside.zero[~seen].mean()),
    }


def moment(inside: Inside) -> dict[str, Any]:
    """`losses`; `gini` as in `measures`; `attention`: the last layer's mean (H, 4), head by head, to a, o, b, "="."""
    gini = characters.gini(characters.spectrum(inside.in_order))
    return losses(inside) | {"gini": gini, "attention": inside.attention[-1].mean((0, 1)).tolist()}


def measured(run: Run, name: str, measure: Callable[[], Any]) -> Any:
    """What `measure` finds in a run's weights, kept in the run's inside.json: few weights are committed.

    Raises UserError if neither the weights nor the measurement are there.
    """
    again = "delete it to measure again, where the weights are there"
    table = run.json(MEASURED, remedy=again) if (run.path / MEASURED).exists() else {}
    if name not in table:
        table[name] = measure()
        write_json(run.path / MEASURED, table)
    return table[name]


def progress(run: Run) -> Progress:
    """Step -> `moment`, at the steps at which the run kept its weights. `measured` keeps the table."""
    told = measured(run, "progress", lambda: {s: moment(look(*load_weights(p))) for s, p in run.snapshots.items()})
    return {int(step): row for step, row in told.items()}


def difference_spectrum(run: Run) -> np.ndarray:
    """`characters.difference_spectrum` of the trained network's logits. `measured` keeps the table."""
    shares = measured(run, "spectrum", lambda: characters.difference_spectrum(look(*run.load()).logits).tolist())
    return np.array(shares)


def falls_below(progress: Progress, name: str, level: float) -> float:
    """The step at which a measure of `progress` first falls below `level`, on a line between the steps around it.

    Raises UserError if it never does, or is below from the first.
    """
    rows = [(step, row[name]) for step, row in progress.items()]
    for (x, above), (y, below) in pairwise(rows):
        if below < level <= above:
            return x + (y - x) * (above - level) / (above - below)
    raise UserError(f"{name}: never falls below {level:.3g}; it goes from {rows[0][1]:.3g} to {rows[-1][1]:.3g}")
