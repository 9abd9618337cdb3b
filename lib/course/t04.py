"""The tasks of notebook 04: division, and the wait."""

from typing import Any

import numpy as np

from lib.course.answers import Wrong, near, number, require
from lib.course.task import task
from lib.objective import steps_to_grok


@task("""
04.1 · The clock of weight decay. Predict, then check

In each step AdamW first multiplies a weight by 1 - learning rate × weight decay. A weight has the value 1. Its
gradient is 0 from now on. What is left of it after 1,000 steps with learning rate 0.001 and weight decay 1? Three
digits suffice, or a formula.

### BEGIN SOLUTION
mine = (1 - 0.001 * 1) ** 1000  # nearly 1 / e
### END SOLUTION
""")
def decayed(mine: Any, random: np.random.RandomState) -> None:
    left = 0.999**1000
    known = {
        "each step takes a share of what is left, not of what there was at first": 0.0,
        "that is what one step leaves": 0.999,
        "decay acts also where the gradient is 0": 1.0,
        "that is what has gone": 1 - left,
        "weight decay of AdamW acts on the weight itself, not on its square": left**2,
    }
    near(mine, left, known, "multiply by the same factor in each of the 1,000 steps", 0.01)


@task('''
04.2 · Divide modulo a prime

a / b modulo p is the number c from 0 to p - 1 for which c · b leaves the same remainder as a when divided by p. b is
not 0. For example, `divide(3, 2, 7)` is `5`.

def divide(a, b, p):
    """One whole number from 0 to p - 1."""
    ### BEGIN SOLUTION
    mine = next(c for c in range(p) if c * b % p == a)
    ### END SOLUTION
    return mine
''')
def divide(mine: Any, random: np.random.RandomState) -> None:
    for p in (5, 7, 97, 113):
        for a, b in zip([0, 1, p - 1, *random.randint(0, p, 8)], [2, p - 1, 3, *random.randint(1, p, 8)], strict=True):
            a, b = int(a), int(b)
            c = number(mine(a, b, p))
            told = f"{a}/{b} modulo {p}: your c is {c:.4g}"
            require(c == int(c), f"{told}, and must be whole; / is ordinary division in Python")
            require(0 <= c < p, f"{told}, not from 0 to {p - 1}")
            require(c * b % p == a, f"{told}, but {c}·{b} leaves the remainder {c * b % p}, not {a}")


@task('''
04.3 · When does it grok?

`steps` and `accuracy` list the evaluations of a run in their order. T_grok is the step of the first of three
evaluations in a row with a test accuracy of at least 0.99. For example, `t_grok([0, 10, 20, 30], [0.5, 1.0, 1.0,
0.99])` is `10`.

def t_grok(steps, accuracy):
    """The step, or -1 if the run does not grok."""
    ### BEGIN SOLUTION
    good = [value >= 0.99 for value in accuracy]
    threes = [step for i, step in enumerate(steps) if good[i : i + 3] == [True] * 3]
    mine = threes[0] if threes else -1
    ### END SOLUTION
    return mine
''')
def t_grok(mine: Any, random: np.random.RandomState) -> None:
    made = [[0.1, 0.99, 0.99, 0.99, 0.5], [0.1, 0.999, 0.999, 0.2], [0.1, 0.5, 1.0, 1.0], [0.2, 0.98, 0.98, 0.98, 0.98]]
    made += [[0.1, 1, 1, 0.4, 1, 1, 1, 0.3, 1, 1, 1], [1.0, 1.0, 1.0], [0.3, 1, 0.3, 1, 0.3, 1, 0.3]]
    made += [random.choice([0.3, 0.985, 0.99, 1.0], 20, p=[0.25, 0.05, 0.2, 0.5]).tolist() for _ in range(20)]
    for curve in made:
        steps = np.cumsum(random.randint(1, 30, len(curve))).tolist()
        true = steps_to_grok(steps, curve)
        got, told = number(mine(steps, curve)), f"; steps {steps[:7]}, accuracy {curve[:7]}" + " …" * (len(steps) > 7)
        if true is None:
            require(got == -1, f"a run that does not grok has -1, not {got}{told}")
        elif got != true:
            require(got != -1, f"this run does grok{told}")
            require(got in steps, f"{got} is not the step of an evaluation{told}")
            raise Wrong(f"step {got} is too {'late' if got > true else 'early'}{told}")
