"""The tasks of notebook 10: other splits, and what errors tell."""

from typing import Any

import numpy as np

from lib.course.answers import array, require
from lib.course.task import task
from lib.tasks import equations


@task('''
10.1 · Divisors that are held out

`rows` (n, 3) holds all divisions a / b = c modulo a prime, a row (a, b, c) each, in any order. Draw half of the
divisors b at random, by the seed. The equations with these divisors are for training, all others are unseen.

def for_training(rows, seed):
    """True where the equation is for training: (n,), of type bool."""
    ### BEGIN SOLUTION
    b = rows[:, 1]
    divisors = np.random.RandomState(seed).permutation(np.unique(b))
    mine = np.isin(b, divisors[: len(divisors) // 2])
    ### END SOLUTION
    return mine
''')
def for_training(mine: Any, random: np.random.RandomState) -> None:
    seen = []
    for p, seed in ((11, 1), (53, 2), (31, 3), (31, 4), (31, 5)):
        rows = random.permutation(equations("/", p))
        train, b = array(mine(rows, seed), (len(rows),), "bool"), rows[:, 1]
        shares = np.array([train[b == divisor].mean() for divisor in range(1, p)])
        mixed = np.flatnonzero((shares > 0) & (shares < 1)) + 1
        require(not len(mixed), f"{mixed.max(initial=0)} is a divisor on both sides (p = {p})")
        n = int(shares.sum())
        require(n == (p - 1) // 2, f"{n} of {p - 1} divisors are for training; must be half of them (p = {p})")
        again = array(mine(rows[::-1].copy(), seed), (len(rows),), "bool")
        require((again[::-1] == train).all(), "the same seed draws other divisors if the rows are in another order")
        seen.append(shares)
    first, second, third = seen[2:]
    require((first != second).any() and (second != third).any(), "another seed draws the same divisors")
    require(np.ptp(np.flatnonzero(seen[1])) > 30, "the divisors are neighbours: each must be drawn alike")


@task('''
10.2 · By how much does it err?

The numbers modulo p lie on a circle: from p - 1 to 0 is one step up. `given` and `true` (n,) are answers and what is
right. By how much is each answer too large, going the shorter way round? (p is odd, so there is one.) For example,
`errors(np.array([0, 0]), np.array([6, 3]), 7)` is `[1, -3]`.

def errors(given, true, p):
    """Whole numbers (n,) from -(p - 1) / 2 to (p - 1) / 2."""
    ### BEGIN SOLUTION
    half = (p - 1) // 2
    mine = (given - true + half) % p - half
    ### END SOLUTION
    return mine
''')
def errors(mine: Any, random: np.random.RandomState) -> None:
    for p in (5, 11, 97):
        given, true = random.randint(0, p, (2, 60))
        given[:3], true[:3] = (p - 1, 0, 2), (0, p - 1, 2)
        got = array(mine(given, true, p), (60,), "whole")
        for g, t, e in zip(given, true, got, strict=True):
            right = (g - t + p // 2) % p - p // 2
            why = "the other way round is shorter" if (e - right) % p == 0 else "true + error must be given, modulo p"
            why = "too large is above 0, too small below" if e == -right else why
            require(e == right, f"{g} for {t} modulo {p} errs by {right}, yours is {e}: {why}")
