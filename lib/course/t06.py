"""The tasks of notebook 06: circles of numbers."""

from typing import Any

import numpy as np

from lib.analysis import characters
from lib.course.answers import array, close, number, require
from lib.course.task import task


@task('''
06.1 · A circle of numbers

Each number x from 1 to p - 1 is a power of g modulo p: x = g^ℓ. Put x on the circle at the angle 2πk·ℓ / (p - 1), as
the complex number e^(i·angle). For example, `circle(2, 3, 7)[2]`, the place of x = 3, is `np.exp(2j * np.pi / 3)`.

def circle(k, g, p):
    """The places of x = 1, 2, ..., p - 1 in this order: an array of p - 1 complex numbers."""
    ### BEGIN SOLUTION
    log = {pow(g, l, p): l for l in range(p - 1)}
    angles = np.array([2 * np.pi * k * log[x] / (p - 1) for x in range(1, p)])
    mine = np.exp(1j * angles)
    ### END SOLUTION
    return mine
''')
def circle(mine: Any, random: np.random.RandomState) -> None:
    for p in (97, 7, 31):
        k, g = int(random.randint(1, p - 1)), characters.primitive_root(p)
        if p == 31:
            g = pow(g, 7, p)  # another number whose powers are all of 1 … p - 1
        got = array(mine(k, g, p), (p - 1,), "complex")
        told = f" (k = {k}, g = {g}, p = {p})"
        require(close(abs(got), 1), f"some places are not on the circle{told}")
        require(close(got[0], 1), f"1 is g to the power of 0, so its angle is 0{told}")
        once = np.exp(2j * np.pi * k / (p - 1))
        require(close(got[g - 1], once) or not close(got[g - 1], once.conj()), f"you go round the wrong way{told}")
        require(close(got[g - 1], once), f"g is g to the power of 1, and has another place{told}")
        x, y = random.randint(1, p, (2, 50))
        right = close(got[x * y % p - 1], got[x - 1] * got[y - 1])
        require(right, f"the angle of a product must be the sum of the angles{told}")


@task("""
06.2 · The wave of the squares. Predict, then check

Modulo 97 half of the numbers 1 … 96 are squares (x = y² for some y). One of the waves cos(2πk·ℓ(x) / 96), with k from
1 to 48, is +1 at all squares and -1 at all others. Which k?

### BEGIN SOLUTION
mine = 48  # the square of g^ℓ is g^(2ℓ): the logarithms are even, and cos(πℓ) tells even from odd
### END SOLUTION
""")
def squares(mine: Any, random: np.random.RandomState) -> None:
    k = number(mine, "whole")
    require(1 <= k <= 48, "k is a whole number from 1 to 48")
    wave = np.cos(2 * np.pi * k * characters.logarithms(97)[1:] / 96)
    square = np.isin(np.arange(1, 97), np.arange(97) ** 2 % 97)
    require(close(abs(wave), 1), f"the wave of k = {k} has values between -1 and 1; which k has none?")
    require((wave[square] > 0).all(), "what is the logarithm of a square, if that of y is ℓ?")
    require((wave[~square] < 0).all(), "the wave is +1 at numbers that are no squares, too")


@task('''
06.3 · Keep the rule, and nothing else

`table` (n, n) holds a logit for each pair of logarithms (i, j). Replace each by the mean over all pairs with the same
difference i - j modulo n. What has been learned of single pairs is then gone. For example,
`by_difference(np.array([[1, 2], [4, 3]]))` is `[[2, 3], [3, 2]]`.

def by_difference(table):
    """The table of the means: (n, n)."""
    ### BEGIN SOLUTION
    n = len(table)
    i, j = np.indices((n, n))
    means = [table[(i - j) % n == d].mean() for d in range(n)]
    mine = np.array(means)[(i - j) % n]
    ### END SOLUTION
    return mine
''')
def by_difference(mine: Any, random: np.random.RandomState) -> None:
    for n in (4, 7, 12):
        table = random.randn(n, n)
        got = array(mine(table), (n, n))
        every = np.ones((n, n), bool)
        true, by_sum = (characters.averaged(table[..., None], every, sign)[..., 0] for sign in (-1, 1))
        require(not close(got, by_sum), f"that is the mean over pairs with the same sum (n = {n})")
        i, j = np.indices((n, n))
        for d in range(n):
            require(np.ptp(got[(i - j) % n == d]) < 1e-6, f"two pairs with the same i - j modulo {n} differ")
        require(close(got, true), f"pairs with one difference are alike, but have not their mean (n = {n})")
