"""An equation as a user types it, and the network's answer in words."""

import random
import re

from torch import Tensor

from lib import tasks
from lib.config import DataConfig, RunConfig
from lib.support.errors import UserError, shortened


def parse_equation(data: DataConfig, prompt: str) -> tuple[int, int]:
    """The operands a and b of a prompt such as "12/5=", whose "=" may be left out.

    Raises UserError if it is none that a model of this data can answer.
    """
    parts = re.fullmatch(r"\s*(-?\d{1,9})\s*([^\d\s]+?)\s*(-?\d{1,9})\s*=?\s*", prompt, re.ASCII)
    example = f"a{data.sign}b= with a and b from 0 to {data.p - 1}, such as 12{data.sign}5="
    if data.sign != data.operation:
        example += f", where {data.sign} is {data.operation}"
    if parts is None:
        raise UserError(f"prompt {shortened(prompt)}: must be {example}")
    a, b = int(parts[1]), int(parts[3])
    if parts[2] != data.sign:
        raise UserError(f"prompt {shortened(prompt)}: this network knows {data.sign} only; must be {example}")
    for name, number in (("a", a), ("b", b)):
        if not 0 <= number < data.p:
            raise UserError(f"prompt {shortened(prompt)}: {name} = {number}: must be from 0 to {data.p - 1}")
    if not (tasks.equations(data.operation, data.p)[:, :2] == (a, b)).all(1).any():
        reason = f"nothing can be divided by 0, or by what has no inverse modulo {data.p}"
        raise UserError(f"prompt {shortened(prompt)}: {reason}; must be {example}")
    return a, b


def describe_answer(config: RunConfig, a: int, b: int, probabilities: Tensor) -> str:
    """ "12/5=80   P 0.9998   right, unseen (test split)   (then 41: 0.0001, …)"."""
    data = config.data
    top = probabilities.topk(min(4, data.p))
    best, *others = zip(top.indices.tolist(), top.values.tolist(), strict=True)
    true, where = right_answer(data, a, b)
    verdict = "right" if best[0] == true else f"wrong, it is {true}"
    seen = "seen in training" if where == "train" else f"unseen ({where} split)"
    then = ", ".join(f"{c}: {p:.2g}" for c, p in others)
    return f"{a}{data.sign}{b}={best[0]}   P {best[1]:.4f}   {verdict}, {seen}   (then {then})"


def right_answer(data: DataConfig, a: int, b: int) -> tuple[int, str]:
    """c of a o b = c, and the split that the equation is in; "no" where data.skip_zero leaves it out."""
    rows = tasks.equations(data.operation, data.p)
    [c] = rows[(rows[:, :2] == (a, b)).all(1), 2].tolist()
    return c, next((name for name, part in tasks.split(data).items() if (part == (a, b, c)).all(1).any()), "no")


def random_equations(data: DataConfig, n: int, seed: int | None) -> list[tuple[int, int]]:
    rows = tasks.equations(data.operation, data.p)[:, :2].tolist()
    return [tuple(row) for row in random.Random(seed).sample(rows, min(n, len(rows)))]
