"""The methods by name, as `optim.methods` has them, e.g. "row_clip=1.75, embedding_rate=4": what each is, and needs.

Without torch, for which --help need not wait; what they do is in gradients.py and weights.py.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lib.config import RunConfig
from lib.support.errors import UserError, shortened, suggestion
from lib.support.fields import coerce


@dataclass(frozen=True)
class Entry:
    """What a method does, in words, with its amount as x; which amounts it takes; and with which configs it works."""

    about: str
    allowed: str = "above 0"
    allows: Callable[[float], bool] = lambda x: x > 0
    needs: dict[str, tuple[Any, ...]] = field(default_factory=dict)  # config field: values with which it works


KNOWN = {  # in the order in which they act; what bounds or keeps weights has the last word
    "row_start": Entry("all rows of weights begin at norm x", needs={"model.init_scale": (1.0,)}),
    "orthogonal_start": Entry("all matrices begin orthogonal, with singular values x times model.init_scale"),
    "egalitarian": Entry("directions of a matrix's gradient equally fast, those with a singular value above x"),
    "column_norm": Entry("each row of a matrix's gradient divided by its norm, or by x if the norm is below x"),
    "newton_schulz": Entry(
        "Muon with x Newton–Schulz steps instead of 5",
        "a whole number from 1 to 5",
        lambda x: x in range(1, 6),
        {"optim.name": ("muon",)},
    ),
    "embedding_rate": Entry(
        "embeddings and output layer learn x times as fast", needs={"model.frozen_embeddings": (False,)}
    ),
    "to_start": Entry("weights decay towards their initial values, at rate x"),
    "update_noise": Entry("noise on each update, x times the learning rate"),
    "row_clip": Entry("rows of weights never longer than x, but for token embedding and output layer"),
    "norm_cap": Entry("the blocks' matrices never longer than x times their initial norm"),
    "norm_clamp": Entry("all matrices together held at norm x"),
    "freeze": Entry(
        "embeddings and output layer stay once three evaluations have validation accuracy x",
        "an accuracy above 0, at most 1",
        lambda x: 0 < x <= 1,
        {"data.task": ("arithmetic", "corpus"), "model.frozen_embeddings": (False,)},
    ),
}


def described() -> str:
    """All methods in one paragraph, for --help."""
    return "; ".join(f"{name}=x: {entry.about}" for name, entry in KNOWN.items())


def check(config: RunConfig) -> dict[str, float]:
    """The amount of each method of a config. Raises UserError if one is misspelt, or cannot work with this config."""
    text, amounts = config.optim.methods, {}
    for part in text.split(",") if text else ():
        name, _, amount = (word.strip() for word in part.partition("="))
        told = f"optim.methods = {shortened(text)}: {name or 'a method'}"
        if name not in KNOWN:
            raise UserError(f"{told} must be one of {', '.join(KNOWN)}{suggestion(name, KNOWN)}")
        if name in amounts:
            raise UserError(f"{told} must be there once")
        entry, amounts[name] = KNOWN[name], coerce(told, amount, float)
        if not entry.allows(amounts[name]):
            raise UserError(f"{told} = {amount}: must be {entry.allowed}")
        for field_name, values in ({"model.kind": ("transformer",)} | entry.needs).items():
            if config.flat()[field_name] not in values:
                raise UserError(f"{told} needs {field_name} = {' or '.join(map(str, values))}")
    return amounts
