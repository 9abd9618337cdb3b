"""What a student hands in, read as what a check can compare; whatever cannot be read so is told in a line."""

import copy
from collections.abc import Callable
from reprlib import Repr
from traceback import walk_tb
from typing import Any

import numpy as np
import torch

from lib.support.errors import first_line

KINDS = {  # what an answer may hold -> NumPy's kinds of such arrays, and the words for it
    "numbers": ("iuf", "numbers"),
    "whole": ("iuf", "whole numbers"),
    "bool": ("b", "True and False"),
    "complex": ("iufc", "numbers, complex ones too"),
}


class Wrong(Exception):
    """An answer is wrong; the message says in what, and not what is right."""


class Unexplained(Wrong):
    """An answer is wrong by no known mistake: an example says more than the message."""


class Unanswered(Exception):
    """The stub is as it was."""


def require(right: Any, hint: str) -> None:
    """Raises Wrong with the hint unless something holds."""
    if not right:
        raise Wrong(hint)


def shown(*values: Any, widest: int = 100) -> str:
    """Values as one writes them, numbers to three digits; of long lists the beginning, or […]."""
    told = Repr()
    told.maxother, told.maxstring, told.fillvalue = 40, 40, "…"
    text, plain = "", [rounded(one) for one in values]
    for told.maxlist in (20, 4, 0):
        told.maxtuple = told.maxlist
        text = ", ".join(map(told.repr, plain))
        if len(text) <= widest:
            break
    return text


def rounded(value: Any) -> Any:
    """A number to three digits; of lists and tuples all their numbers, as of arrays and tensors, which become lists."""
    if isinstance(value, torch.Tensor | np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return tuple(map(rounded, value)) if isinstance(value, tuple) else [rounded(one) for one in value]
    return type(value)(f"{value:.3g}") if type(value) in (float, complex) else value


def guarded(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """A student's function on copies of its arguments.

    Raises Wrong, with the call, if it stops or returns None; Unanswered if it returns the stub's `...`.
    """

    def call(*args: Any) -> Any:
        try:
            value = function(*map(copy.deepcopy, args))
        except (Exception, SystemExit) as error:
            code = getattr(function, "__code__", None)
            lines = [line - code.co_firstlineno + 1 for at, line in walk_tb(error.__traceback__) if at.f_code is code]
            told = f" (line {lines[-1]} of your function)" if lines else ""
            raised = f"{type(error).__name__}: {first_line(error)[:120]}"
            raise Wrong(f"{name}({shown(*args)}) stops with {raised}{told}") from None
        if value is ... or (isinstance(value, list | tuple) and any(one is ... for one in value)):
            raise Unanswered
        require(value is not None, f"{name}({shown(*args)}) returns None: does every way through it end with return?")
        return value

    return call


def array(value: Any, shape: tuple[int, ...], kind: str = "numbers") -> np.ndarray:
    """A result, a tensor or whatever NumPy reads, as an array. Raises Wrong for another shape, kind, or NaN."""
    require(value is not None, "your answer is None")
    dtypes, allowed = KINDS[kind]
    try:
        plain = value
        if isinstance(value, torch.Tensor):
            plain = value.detach().cpu()
            plain = (plain.double() if plain.is_floating_point() else plain).numpy()
        read = np.asarray(plain)
    except Exception:
        raise Wrong(f"your answer, of type {type(value).__name__}, cannot be read as {allowed}") from None
    require(read.dtype.kind in "biufc", f"your answer is of type {type(value).__name__}; must be {allowed}")
    wanted = f"must have {shape}" if shape else "must be a single number"
    require(read.shape == shape, f"your answer has the shape {read.shape}; {wanted}")
    several = read.dtype if isinstance(value, list | tuple) else type(value).__name__
    holds = str(getattr(value, "dtype", several)).removeprefix("torch.")  # as the student knows it
    require(read.dtype.kind in dtypes, f"your answer holds {holds}; must hold {allowed}")
    require(np.isfinite(read).all(), "your answer holds NaN or infinity")
    if kind == "whole":  # 96 / 2 is one, too
        parts = read[read != np.rint(read)]
        require(not parts.size, f"your answer holds {shown(parts[:1].tolist())[1:-1]}; must hold {allowed}")
        read = read if read.dtype.kind in "iu" else np.rint(read).astype(np.int64)
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


def near(mine: Any, true: float, known: dict[str, Any], hint: str, relative: float = 1e-4) -> None:
    """Raises Wrong unless a number is near the true one.

    known: mistakes, each with the number that it leads to, or with several; the nearest is told as such.
    """
    got = number(mine)
    if not close(got, true, relative):
        wrongs = [(wrong, mistake) for mistake, some in known.items() for wrong in np.atleast_1d(some)]
        wrongs = [(wrong, mistake) for wrong, mistake in wrongs if not close(true, wrong, relative)]
        wrong, mistake = min(wrongs, key=lambda pair: abs(got - pair[0]), default=(np.nan, ""))
        require(not close(got, wrong, relative / 2), mistake)
        raise Unexplained(f"too {'large' if got > true else 'small'}: {hint}")
