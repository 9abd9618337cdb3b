"""What a student hands in, read as what a check can compare; whatever cannot be read so is told in a line."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from lib.support.errors import first_line

KINDS = {  # what an answer may hold -> NumPy's kinds of such arrays, and the words for it
    "numbers": ("iuf", "numbers"),
    "whole": ("iu", "whole numbers"),
    "bool": ("b", "True and False"),
    "complex": ("iufc", "numbers, complex ones too"),
}


class Wrong(Exception):
    """An answer is wrong; the message says in what, and not what is right."""


class Unanswered(Exception):
    """The stub is as it was."""


def require(right: Any, hint: str) -> None:
    """Raises Wrong with the hint unless something holds."""
    if not right:
        raise Wrong(hint)


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """A student's function on copies of its arguments. Raises Wrong if it stops or returns nothing."""

    def call(*args: Any) -> Any:
        try:
            value = function(*map(copy.deepcopy, args))
        except (Exception, SystemExit) as error:
            raise Wrong(f"your function stops with {type(error).__name__}: {first_line(error)[:200]}") from None
        if value is ...:
            raise Unanswered
        return value

    return call


def array(value: Any, shape: tuple[int, ...], kind: str = "numbers") -> np.ndarray:
    """A result, a tensor or whatever NumPy reads, as an array. Raises Wrong for another shape, kind, or NaN."""
    require(value is not None, "your function returns None: does every way through it end with return?")
    dtypes, allowed = KINDS[kind]
    try:
        if isinstance(value, torch.Tensor):
            value = value.detach().cpu()
            value = (value.double() if value.is_floating_point() else value).numpy()
        read = np.asarray(value)
    except Exception:
        raise Wrong(f"your answer is a {type(value).__name__} that cannot be read as {allowed}") from None
    require(read.dtype.kind in "biufc", f"your answer is a {type(value).__name__}; must be {allowed}")
    wanted = f"must have {shape}" if shape else "must be a single number"
    require(read.shape == shape, f"your answer has the shape {read.shape}; {wanted}")
    require(read.dtype.kind in dtypes, f"your answer holds {read.dtype}; must hold {allowed}")
    require(np.isfinite(read).all(), "your answer holds NaN or infinity")
    return read


def number(value: Any, kind: str = "numbers") -> Any:
    """A single finite number. Raises Wrong for anything else."""
    return array(value, (), kind).item()


def normal(random: np.random.RandomState, *shape: int) -> torch.Tensor:
    """Normally distributed numbers as torch's own, float32."""
    return torch.from_numpy(random.randn(*shape)).float()


def close(x: Any, y: Any, relative: float = 1e-4) -> bool:
    """Whether all numbers agree, up to a share of their size."""
    return bool(np.allclose(x, y, rtol=relative, atol=1e-7))


def near(
    mine: Any, true: float, known: dict[str, float], hint: str, relative: float = 1e-4, kind: str = "numbers"
) -> None:
    """Raises Wrong unless a number is near the true one; `known` mistakes, each with its number, are told as such."""
    got = number(mine, kind)
    if not close(got, true, relative):
        for mistake, wrong in known.items():
            require(not close(got, wrong, relative) or close(true, wrong, relative), mistake)
        raise Wrong(f"too {'large' if got > true else 'small'}: {hint}")
