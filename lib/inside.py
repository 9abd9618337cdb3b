"""What a network that does arithmetic holds inside, with the numbers in the order in which its operation is simple."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lib import arithmetic, characters, checkpoint
from lib.config import DataConfig
from lib.model import Transformer
from lib.tokenizer import Tokenizer


def order(data: DataConfig) -> np.ndarray:
    """The numbers in the order of `Inside`: for division the powers of a primitive root (without 0), else 0 … p - 1."""
    return characters.powers(data.p) if data.operation == "/" else np.arange(data.p)


@dataclass(frozen=True)
class Inside:
    """A network at all pairs (a, b), a and b in `order(data)`: n of each, n = p - 1 for division, else p."""

    data: DataConfig
    logits: np.ndarray  # (n, n, V): first of the n numbers in the same order, then of all other tokens
    neurons: list[np.ndarray]  # per layer (n, n, F), after the activation, at "="
    attention: list[np.ndarray]  # per layer (n, n, H, 4), from "=" to a, o, b and itself
    embedding: np.ndarray  # (n, D)
    unembedding: np.ndarray  # (n, D)

    @property
    def answers(self) -> np.ndarray:
        """(n, n) the place in the order of the right answer."""
        n = len(self.embedding)
        place = {int(number): i for i, number in enumerate(order(self.data))}
        table = {(a, b): c for a, b, c in arithmetic.equations(self.data.operation, self.data.p).tolist()}
        numbers = order(self.data).tolist()
        return np.array([[place[table[a, b]] for b in numbers] for a in numbers]).reshape(n, n)

    @property
    def trained_on(self) -> np.ndarray:
        """(n, n) bool: is the equation in the train split?"""
        place = np.full(self.data.p, -1)
        place[order(self.data)] = np.arange(len(self.embedding))
        rows = place[arithmetic.split(self.data)["train"][:, :2]]
        seen = np.zeros(self.logits.shape[:2], bool)
        seen[tuple(rows[(rows >= 0).all(1)].T)] = True
        return seen

    def accuracy(self, logits: np.ndarray) -> float:
        """Share of all pairs whose right answer is the likeliest under `logits` (n, n, V)."""
        return float((logits.argmax(2) == self.answers).mean())

    def loss(self, logits: np.ndarray, where: np.ndarray | None = None) -> float:
        """Cross-entropy in nats over the pairs `where` (n, n) bool, by default all."""
        where = np.ones(logits.shape[:2], bool) if where is None else where
        return characters.cross_entropy(logits[where], self.answers[where])


def look(model: Transformer, tokenizer: Tokenizer, data: DataConfig) -> Inside:
    """Run the network on all pairs. Number tokens and no rotary positions."""
    numbers = order(data)
    n = len(numbers)
    op, equals = tokenizer.encode(data.operation + "=")
    a, b = (grid.ravel() for grid in np.meshgrid(numbers, numbers, indexing="ij"))
    tokens = torch.tensor(np.stack([a, np.full(n * n, op), b, np.full(n * n, equals)], axis=1))
    seen: dict[str, list[Tensor]] = {"neurons": [], "query": [], "key": []}
    hooks = []
    for block in model.blocks:
        hooks.append(block.feed_forward.down.register_forward_pre_hook(keep_input(seen["neurons"])))
        hooks.append(block.attention.query.register_forward_hook(keep_output(seen["query"])))
        hooks.append(block.attention.key.register_forward_hook(keep_output(seen["key"])))
    try:
        with torch.no_grad():
            logits = model(tokens)[:, -1].numpy()
    finally:
        for hook in hooks:
            hook.remove()
    H = model.config.n_heads
    attention = []
    for q, k in zip(seen["query"], seen["key"], strict=True):
        q, k = (x.view(n * n, 4, H, -1) for x in (q, k))
        scores = torch.einsum("bhd,bthd->bht", q[:, -1], k) / q.shape[-1] ** 0.5
        attention.append(scores.softmax(-1).view(n, n, H, 4).numpy())
    tokens_in_order = np.concatenate([numbers, np.setdiff1d(np.arange(logits.shape[1]), numbers)])
    weight = (model.embed if model.config.tied else model.unembed).weight
    return Inside(
        data=data,
        logits=logits[:, tokens_in_order].reshape(n, n, -1),
        neurons=[x[:, -1].reshape(n, n, -1).numpy() for x in seen["neurons"]],
        attention=attention,
        embedding=model.embed.weight.detach().numpy()[numbers],
        unembedding=weight.detach().numpy()[numbers],
    )


def keep_input(into: list[Tensor]) -> Callable[..., None]:
    def hook(module: nn.Module, inputs: tuple[Tensor]) -> None:
        into.append(inputs[0])

    return hook


def keep_output(into: list[Tensor]) -> Callable[..., None]:
    def hook(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        into.append(output)

    return hook


def key_frequencies(inside: Inside) -> list[int]:
    """The fewest frequencies that make 90 % of what the logits owe to the difference of the logarithms."""
    centred = inside.logits - inside.logits.mean(2, keepdims=True)
    return characters.key_frequencies(characters.family_spectrum(centred))


def progress(path: Path, keys: list[int]) -> dict[str, float]:
    """Measures of one moment of a run, from a weights file, given the key frequencies of its end.

    After Nanda et al. 2023 (arXiv 2301.05217), for division: the *restricted* loss, over all pairs, of the mean logits
    and the key frequencies' part alone, and the *excluded* loss, over the train split, of all but that part; `train`,
    and `test` for all others; Gini's coefficient of the embedding's spectrum.
    """
    model, tokenizer, config = checkpoint.load_weights(path)
    inside = look(model, tokenizer, config.data)
    part = characters.family(inside.logits, keys)
    seen = inside.trained_on
    return {
        "train": inside.loss(inside.logits, seen),
        "test": inside.loss(inside.logits, ~seen),
        "restricted": inside.loss(inside.logits.mean((0, 1), keepdims=True) + part),
        "excluded": inside.loss(inside.logits - part, seen),
        "gini": characters.gini(characters.spectrum(inside.embedding)),
    }


def measures(inside: Inside) -> dict[str, Any]:
    """What a network's embedding and logits are made of, and how well it divides with a part of its logits alone.

    `gini` of the embedding's spectrum, `gini_integers` with the numbers in their own order; the `keys`; the share of
    the logits' variance `explained` by log a - log b - log c; accuracies over all pairs: of the `whole`, of the `key`
    frequencies' part or the whole `family` with the mean logits, and of what is left without either.
    """
    own = np.argsort(order(inside.data))
    n = len(own)
    keys = key_frequencies(inside)
    mean = inside.logits.mean((0, 1), keepdims=True)
    key, family = characters.family(inside.logits, keys), characters.family(inside.logits)
    return {
        "gini": characters.gini(characters.spectrum(inside.embedding)),
        "gini_integers": characters.gini(characters.spectrum(inside.embedding[own])),
        "keys": keys,
        "explained": characters.profile(inside.logits[:, :, :n])[1],
        "whole": inside.accuracy(inside.logits),
        "key": inside.accuracy(mean + key),
        "family": inside.accuracy(mean + family),
        "no_key": inside.accuracy(inside.logits - key),
        "no_family": inside.accuracy(inside.logits - family),
    }


def zero_row(model: Transformer, tokenizer: Tokenizer, data: DataConfig) -> tuple[float, float]:
    """Share of the equations 0 / b answered with 0, and the length of 0's embedding over that of the others' mean."""
    op, equals = tokenizer.encode(data.operation + "=")
    with torch.no_grad():
        answers = model(torch.tensor([[0, op, b, equals] for b in range(1, data.p)]), last=True).argmax(1)
        lengths = model.embed.weight[: data.p].norm(dim=1)
    return float((answers == 0).float().mean()), float(lengths[0] / lengths[1:].mean())
