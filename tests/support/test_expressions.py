"""Expressions of a and b: what they give, against Python's own numbers, and what is refused."""

import ast
import itertools
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy.combinatorics import Permutation

from lib.support import expressions
from lib.support.expressions import Refused, answers, fault, holds

LEAVES = st.sampled_from(["a", "b"]) | st.integers(0, 300).map(str)
VALUES = st.recursive(
    LEAVES,
    lambda parts: st.one_of(
        st.tuples(parts, st.sampled_from("+-*/"), parts).map(lambda t: f"({t[0]}{t[1]}{t[2]})"),
        st.tuples(parts, st.integers(-3, 5)).map(lambda t: f"({t[0]})**{t[1]}"),
        parts.map(lambda x: f"-({x})"),
        st.tuples(parts, parts).map(lambda t: f"({t[0]} if b%2==1 else {t[1]})"),
    ),
    max_leaves=6,
)


def plainly(node: ast.expr, a: int, b: int, p: int) -> int:
    """The value of an expression of two numbers; raises ValueError where it divides by what has no inverse."""
    match node:
        case ast.Name(id=name):
            return {"a": a, "b": b}[name]
        case ast.Constant(value=number):
            return number % p
        case ast.UnaryOp(operand=x):
            return -plainly(x, a, b, p) % p
        case ast.IfExp(body=x, orelse=y):
            return plainly(x if b % 2 else y, a, b, p)
        case ast.BinOp(left=x, op=ast.Pow(), right=n):
            return pow(plainly(x, a, b, p), ast.literal_eval(n), p)
    x, y = plainly(node.left, a, b, p), plainly(node.right, a, b, p)
    match node.op:
        case ast.Add():
            return (x + y) % p
        case ast.Sub():
            return (x - y) % p
        case ast.Mult():
            return x * y % p
    return x * pow(y, -1, p) % p


@settings(max_examples=60)
@given(VALUES.filter(lambda text: len(text) <= expressions.LONGEST), st.sampled_from([3, 7, 12, 97]))
def test_an_expression_is_worth_what_python_says_pair_by_pair(text: str, p: int) -> None:
    a, b = (grid.ravel() for grid in np.mgrid[0:5, 0:5] % p)
    given, node = answers(text, p, a, b), ast.parse(text, mode="eval").body
    for i, pair in enumerate(zip(a.tolist(), b.tolist(), strict=True)):
        try:
            assert given[i] == plainly(node, *pair, p)
        except ValueError:
            assert given[i] is np.ma.masked


def test_values_by_hand() -> None:
    a, b = np.array([3, 96, 0]), np.array([5, 2, 0])
    by_hand = {"a*b": [15, 95, 0], "a**2+a*b+b**2": [49, 3, 0], "a**3+a*b**2+b": [10, 94, 0], "7": [7, 7, 7]}
    by_hand |= {"a/b if b%2==1 else a-b": [20, 94, 0], "a/b": [20, 48, None], "-a": [94, 1, 0], "a - 98": [2, 95, 96]}
    for text, values in by_hand.items():
        assert answers(text, 97, a, b).tolist() == values, text
    assert answers("a/b", 96, np.array([5, 5]), np.array([5, 2])).tolist() == [1, None]  # 2 has no inverse modulo 96


def test_products_of_permutations_are_those_of_sympy() -> None:
    all_of_them = [Permutation(images) for images in itertools.permutations(range(5))]
    number = {tuple(each.array_form): i for i, each in enumerate(all_of_them)}
    a, b = np.random.RandomState(0).randint(120, size=(2, 200))
    rules = {"a*b": lambda x, y: x * y, "a*b*a": lambda x, y: x * y * x, "a*b*a**-1": lambda x, y: x * y * x**-1}
    rules |= {"a**2*b**3": lambda x, y: x**2 * y**3}
    for text, product in rules.items():
        expected = [
            number[tuple(product(all_of_them[i], all_of_them[j]).array_form)] for i, j in zip(a, b, strict=True)
        ]
        assert answers(f"s5({text})", 120, a, b).tolist() == expected
    table = answers("s5(a*b)", 120, *(grid.ravel() for grid in np.mgrid[0:120, 0:120])).reshape(120, 120)
    assert (np.sort(table) == np.arange(120)).all() and (table != table.T).any() and (table[0] == range(120)).all()


CONDITIONS = {
    "b <= 48": lambda a, b, c: b <= 48,
    "(a + b) % 2 == 0": lambda a, b, c: (a + b) % 2 == 0,
    "1 < a <= b and not c == 3": lambda a, b, c: 1 < a <= b and c != 3,
    "a > b or a - b*c < -40": lambda a, b, c: a > b or a - b * c < -40,
    "a*a*a*a*a*a*a*a*a*a*a*a*a % 7 == 1": lambda a, b, c: a**13 % 7 == 1,  # more than 64 bits hold
    "3 > 2": lambda a, b, c: True,
    "": lambda a, b, c: True,
}


@pytest.mark.parametrize("text", CONDITIONS)
def test_a_condition_holds_where_python_says(text: str) -> None:
    a, b, c = np.random.RandomState(1).randint(97, size=(3, 500))
    expected = [CONDITIONS[text](*row) for row in zip(a.tolist(), b.tolist(), c.tolist(), strict=True)]
    assert holds(text, a, b, c).tolist() == expected and holds(text, a, b, c).dtype == bool


@pytest.mark.parametrize(
    ("text", "word"),
    [
        *(
            ("__import__('os').abort()", "abort() is not allowed"),
            ("a.real", "a.real"),
            ("a[0]", "a[0]"),
            ("f(a)", "f(a)"),
        ),
        *(("a^b", "a ^ b"), ("a//b", "a // b"), ("a%2", "a % 2"), ("1.5*a", "1.5"), ("True*a", "True"), ("'a'", "'a'")),
        *(("a**b", "b must be a whole number"), ("c+a", "c is not"), ("a<b", "a < b"), ("(a:=b)", ":="), ("+a", "+a")),
        *(
            ("a if b else a", "b is no condition"),
            ("lambda: a", "lambda"),
            ("[a for a in b]", "for"),
            ("f'{a}'", "{a}"),
        ),
        *(("a*", "cannot be read"), ("a;b", "cannot be read"), ("", "cannot be read"), ("\0", "cannot be read")),
        *(("(" * 90 + "a", "cannot be read"), ("a+" * 150 + "a", "301 characters"), ("s5(a", "cannot be read")),
        *(
            ("s5(a+b)", "a + b is not"),
            ("s5(2*a)", "2 is not"),
            ("s5(a*b)*a", "s5(a * b) is not"),
            ("s5(a/b)", "a / b"),
        ),
    ],
)
def test_what_is_no_operation_is_refused_by_name(text: str, word: str) -> None:
    assert word in fault(text, 120)
    with pytest.raises(Refused):
        answers(text, 120, np.arange(3), np.arange(3))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        *(
            ("b", "b is no condition"),
            ("a < b and 3", "3 is no condition"),
            ("b % 0 == 1", "above 0"),
            ("a in b", "a in b"),
        ),
        *(
            ("a % b == 0", "b must be a whole number"),
            ("b**2 < 3", "b ** 2"),
            ("a/b < 3", "a / b"),
            ("a is b", "a is b"),
        ),
        *((" ", "cannot be read"), ("d < 3", "d is not"), ("a < (b if a < 3 else c)", "if"), ("a < 1.5", "1.5")),
    ],
)
def test_what_is_no_condition_is_refused_by_name(text: str, word: str) -> None:
    with warnings.catch_warnings(action="ignore"):
        assert word in fault(text)
