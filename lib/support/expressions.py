"""Expressions that a user types: "a**2+a*b+b**2" for an operation, "b <= 48 and a % 2 == 0" for a condition.

Python's parser makes a tree of the text, and the functions below walk it. What they do not know they refuse by name;
nothing is handed to Python to be run.
"""

import ast
import itertools
import math
import operator
import warnings
from collections.abc import Callable, Mapping
from functools import cache, reduce
from typing import Any

import numpy as np

LONGEST = 200  # characters: enough for any rule, and too few for a tree that is slow to walk
OPERATION = (
    "+, -, /; or an expression of a and b with whole numbers, + - * /, ** a whole number, and x if condition else y; "
    "or s5(a*b), a product of permutations, with * and ** alone"
)
CONDITION = (
    "empty, or comparisons of a, b, c (the answer) and whole numbers, with + - *, and % a whole number above 0; "
    "joined by and, or, not"
)
SIGNS = {"+": "a+b", "-": "a-b", "/": "a/b"}
COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    **{ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt},
    **{ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge},
}
Names = Mapping[str, np.ndarray]
Arithmetic = Mapping[type, Callable[..., Any]]  # what `int` and each of Python's operators do; no other is allowed


class Refused(ValueError):
    """An expression cannot be read, or has a part that is not allowed."""


def answers(operation: str, p: int, a: np.ndarray, b: np.ndarray) -> np.ma.MaskedArray:
    """The c of each equation a o b = c, (n,) int64: modulo p, or of permutations; masked where there is none.

    operation: +, -, /, `OPERATION`, or s5(a*b). A quotient x/y is the only c with c·y ≡ x (mod p), and there is one
    where y and p have no common factor. Raises Refused.
    """
    if is_of_permutations(operation):
        return np.ma.asarray(evaluate(parse(operation[3:-1]), {"a": a, "b": b}, permutations()))
    text = SIGNS.get(operation, operation)
    return np.ma.asarray(evaluate(parse(text), {"a": a, "b": b}, residues(p)))


def holds(condition: str, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """For which equations (n,) a `CONDITION` holds: (n,) bool. An empty one always holds. Raises Refused."""
    if not condition:
        return np.ones(len(a), bool)
    return truth(parse(condition), {"a": a, "b": b, "c": c})


@cache
def fault(text: str, p: int | None = None) -> str:
    """What is wrong with an operation modulo p, or without a p with a condition: a few words, or none."""
    one = np.ones(1, int)
    try:
        if p is None:
            holds(text, one, one, one)
        elif answers(text, p, *np.indices((p, p)).reshape(2, -1)).mask.all():
            return f"no a and b have an answer modulo {p}"
    except Refused as refused:
        return str(refused)
    return ""


def is_of_permutations(operation: str) -> bool:
    return operation.startswith("s5(") and operation.endswith(")")


def parse(text: str) -> ast.expr:
    if len(text) > LONGEST:
        raise Refused(f"it has {len(text):,} characters, and {LONGEST} are enough")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # such as "1if": what Python will refuse one day
            return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, SyntaxWarning, DeprecationWarning, ValueError, RecursionError, MemoryError):
        raise Refused("it cannot be read") from None


def evaluate(node: ast.expr, names: Names, arithmetic: Arithmetic) -> Any:
    """The value of an expression for all equations, (n,)."""
    match node:
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.Constant(value=number) if type(number) is int and int in arithmetic:
            return np.full_like(names["a"], arithmetic[int](number))
        case ast.UnaryOp(op=op, operand=x) if type(op) in arithmetic:
            return arithmetic[type(op)](evaluate(x, names, arithmetic))
        case ast.BinOp(left=x, op=ast.Pow() | ast.Mod() as op, right=n) if type(op) in arithmetic:
            return arithmetic[type(op)](evaluate(x, names, arithmetic), whole_number(n))
        case ast.BinOp(left=x, op=op, right=y) if type(op) in arithmetic:
            return arithmetic[type(op)](evaluate(x, names, arithmetic), evaluate(y, names, arithmetic))
        case ast.IfExp(test=test, body=x, orelse=y) if ast.IfExp in arithmetic:
            either = evaluate(x, names, arithmetic), evaluate(y, names, arithmetic)
            return arithmetic[ast.IfExp](truth(test, names), *either)
    raise Refused(f"{ast.unparse(node)} is not allowed")


def truth(node: ast.expr, names: Names) -> np.ndarray:
    """Where a condition holds, (n,) bool."""
    match node:
        case ast.BoolOp(op=op, values=parts):
            both = np.logical_and if isinstance(op, ast.And) else np.logical_or
            return both.reduce([truth(part, names) for part in parts])
        case ast.UnaryOp(op=ast.Not(), operand=part):
            return ~truth(part, names)
        case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in COMPARISONS for op in ops):
            exact = {name: numbers.astype(object) for name, numbers in names.items()}  # of any size
            sides = [evaluate(side, exact, INTEGERS) for side in (left, *others)]
            pairs = zip(ops, itertools.pairwise(sides), strict=True)
            return np.logical_and.reduce([COMPARISONS[type(op)](*pair) for op, pair in pairs]).astype(bool)
    raise Refused(f"{ast.unparse(node)} is no condition")


def whole_number(node: ast.expr) -> int:
    match node:
        case ast.Constant(value=number) if type(number) is int:
            return number
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=number)) if type(number) is int:
            return -number
    raise Refused(f"{ast.unparse(node)} must be a whole number, to the right of ** or %")


def remainder(x: np.ndarray, n: int) -> np.ndarray:
    if n < 1:
        raise Refused(f"% {n} must be above 0")
    return x % n


INTEGERS: Arithmetic = {
    **{int: int, ast.USub: operator.neg, ast.Mod: remainder},
    **{ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul},
}


def residues(p: int) -> Arithmetic:
    """Arithmetic modulo p, masked where something is divided by what has no inverse."""

    def power(x: np.ndarray, n: int) -> np.ma.MaskedArray:
        return np.ma.masked_where(np.ma.getmaskarray(x), powers(n, p)[np.ma.getdata(x)])

    return {
        **{int: lambda n: n % p, ast.USub: lambda x: -x % p, ast.Pow: power, ast.IfExp: np.ma.where},
        **{ast.Add: lambda x, y: (x + y) % p, ast.Sub: lambda x, y: (x - y) % p},
        **{ast.Mult: lambda x, y: x * y % p, ast.Div: lambda x, y: x * power(y, -1) % p},
    }


@cache
def powers(n: int, p: int) -> np.ma.MaskedArray:
    """x**n modulo p of x = 0 … p - 1; masked where n < 0 and x has no inverse."""
    there = [n >= 0 or math.gcd(x, p) == 1 for x in range(p)]
    return np.ma.array([pow(x, n, p) if some else 0 for x, some in enumerate(there)], mask=np.logical_not(there))


@cache
def permutations() -> Arithmetic:
    """Products in S₅: x*y is first x, then y. The 120 permutations of five things are numbered lexicographically."""
    all_of_them = np.array(list(itertools.permutations(range(5))))
    key = 5 ** np.arange(5)[::-1]  # ascending with the number
    product = np.searchsorted(all_of_them @ key, all_of_them[:, all_of_them] @ key).T  # [x, y]

    def power(x: np.ndarray, n: int) -> np.ndarray:
        """n is reduced modulo 60, the least common multiple of all orders; 0 is the identity."""
        return reduce(lambda y, _: product[y, x], range(n % 60), np.zeros_like(x))

    return {ast.Mult: lambda x, y: product[x, y], ast.Pow: power}
