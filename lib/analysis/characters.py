"""The multiplicative characters of the numbers modulo p: the basis in which division is subtraction.

With g a primitive root modulo p, every x from 1 to p - 1 is a power g^l of it, and l = log x is its discrete logarithm
modulo n = p - 1. Then a / b = c means log a - log b = log c (mod n): division modulo p is subtraction modulo p - 1.
The functions x -> exp(2 pi i k log x / n) are the characters; as functions of l they are the Fourier basis of Z_n.
0 has no logarithm, so a = 0 is left out.

Arrays over numbers are in the order of the logarithms, x = 1, g, g², … Arrays in the order 0, 1, 2, … give the same
functions of the integer basis.
"""

import numpy as np


def primitive_root(p: int) -> int:
    """The least g whose powers are all of 1 … p - 1; p prime."""
    n = p - 1
    factors = [q for q in range(2, n + 1) if n % q == 0 and all(q % i for i in range(2, q))]
    return next(g for g in range(1, p) if all(pow(g, n // q, p) != 1 for q in factors))


def powers(p: int) -> np.ndarray:
    """1, g, g², …, g^(p - 2) modulo p: (p - 1,) int64, the numbers in the order of their logarithms."""
    g = primitive_root(p)
    return np.array([pow(g, exponent, p) for exponent in range(p - 1)])


def logarithms(p: int) -> np.ndarray:
    """log x for x = 0 … p - 1: (p,) int64; -1 for 0, which has none."""
    logs = np.full(p, -1)
    logs[powers(p)] = np.arange(p - 1)
    return logs


def spectrum(table: np.ndarray) -> np.ndarray:
    """Power of each frequency k = 1 … n // 2 along the first axis of (n, …), as shares of their sum: (n // 2,).

    The squared length of the projection on cos(2 pi k l / n) and sin(2 pi k l / n), over all columns; for even n the
    last is the alternating sign alone (of p - 1 numbers in the order of their logarithms: the Legendre symbol).
    """
    n = len(table)
    power = (np.abs(np.fft.rfft(table.reshape(n, -1), axis=0)) ** 2).sum(1)[1:]
    power[: (n - 1) // 2] *= 2  # k and n - k
    return power / power.sum()


def gini(x: np.ndarray) -> float:
    """Gini's coefficient of non-negative numbers: 0 if all are equal, near 1 if one holds all.

    sum_i (2 i - n - 1) x_i / (n sum x), x ascending, i = 1 … n.
    """
    n = len(x)
    return float((2 * np.arange(1, n + 1) - n - 1) @ np.sort(x) / (n * x.sum()))


def key_frequencies(shares: np.ndarray, enough: float = 0.9) -> list[int]:
    """The fewest frequencies, from 1, whose shares of a spectrum add up to `enough`; ascending."""
    order = np.argsort(shares)[::-1]
    n = int(np.searchsorted(np.cumsum(shares[order]), enough)) + 1
    return sorted(int(k) + 1 for k in order[:n])


def averaged(logits: np.ndarray, where: np.ndarray, sign: int = -1) -> np.ndarray:
    """Logits (n, n, C) over (log a, log b), replaced by their mean over all pairs with the same log a - log b.

    The mean is over the pairs `where` (n, n) bool, which must hold some of each difference; with `sign` 1, the sum.
    """
    n = logits.shape[0]
    groups = np.add.outer(np.arange(n), sign * np.arange(n)) % n
    sums = np.zeros((n, logits.shape[2]))
    np.add.at(sums, groups[where], logits[where])
    return (sums / np.bincount(groups[where], minlength=n)[:, None])[groups]


def difference_spectrum(logits: np.ndarray) -> np.ndarray:
    """The share of each frequency k = 1 … n // 2 in how logits (n, n, C) depend on log a - log b: (n // 2,).

    In terms of the two-dimensional Fourier transform over (log a, log b), the modes (k, -k). The mean over c is taken
    off first, which no softmax sees.
    """
    centred = logits - logits.mean(2, keepdims=True)
    return spectrum(averaged(centred, np.ones(logits.shape[:2], bool))[:, 0])


def profile(logits: np.ndarray) -> tuple[np.ndarray, float]:
    """The part of logits (n, n, n) over (log a, log b, log c) that depends on s = log a - log b - log c alone.

    Returns the mean logit for each s, (n,), and the share of the logits' variance that these means explain; both after
    the mean over c is taken off.
    """
    n = logits.shape[0]
    centred = logits - logits.mean(2, keepdims=True)
    la, lb, lc = np.ogrid[:n, :n, :n]
    s = (la - lb - lc) % n
    means = np.bincount(s.ravel(), centred.ravel(), n) / n**2
    rest = centred - means[s]
    return means, float(1 - (rest**2).sum() / (centred**2).sum())


def cosines(means: np.ndarray) -> tuple[np.ndarray, float]:
    """(alpha_1 … alpha_(n // 2), share) of means (n,) = sum_k alpha_k cos(2 pi k s / n) + sines.

    `share`: of the cosines in the variance of `means`.
    """
    n = len(means)
    modes = np.fft.rfft(means)[1:] * 2 / n
    if n % 2 == 0:
        modes[-1] /= 2
    even = (means + np.roll(means[::-1], 1)) / 2
    return modes.real, float(even.var() / means.var())


def purity(activations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For neurons (n, n, F) over (log a, log b): each one's frequency (F,), and its share of the variance (F,).

    The share of the modes made of the constant, cos k and sin k in either variable; after Nanda et al. 2023.
    """
    n = activations.shape[0]
    power = np.abs(np.fft.fft2(activations, axes=(0, 1))) ** 2
    power[0, 0] = 0
    modes = [sorted({0, k, n - k}) for k in range(1, n // 2 + 1)]
    explained = np.array([power[np.ix_(own, own)].sum((0, 1)) for own in modes])
    shares = explained / np.maximum(power.sum((0, 1)), 1e-30)
    return shares.argmax(0) + 1, shares.max(0)
