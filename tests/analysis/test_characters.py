"""The basis in which division is subtraction, on tables and logits whose spectrum is known."""

import numpy as np
import pytest

from lib import tasks
from lib.analysis import characters

N = 22  # p = 23


def grid(k: int, phase: float = 0.0) -> np.ndarray:
    """cos(2 pi k (la - lb - lc) / N + phase) over (la, lb, lc)."""
    la, lb, lc = np.ogrid[:N, :N, :N]
    return np.cos(2 * np.pi * k * (la - lb - lc) / N + phase)


@pytest.mark.parametrize(("p", "g"), [(97, 5), (113, 3), (23, 5), (2, 1), (3, 2)])
def test_powers_and_logarithms(p: int, g: int) -> None:
    assert characters.primitive_root(p) == g
    assert sorted(characters.powers(p)) == list(range(1, p))
    assert (characters.logarithms(p)[characters.powers(p)] == np.arange(p - 1)).all() and characters.logarithms(p)[
        0
    ] == -1


def test_division_is_subtraction_of_logarithms() -> None:
    rows = tasks.equations("/", 97)
    logs = characters.logarithms(97)
    a, b, c = logs[rows[rows[:, 0] > 0]].T
    assert ((a - b - c) % 96 == 0).all()


def test_spectrum_of_a_table_with_two_frequencies() -> None:
    angle = 2 * np.pi * np.arange(N)[:, None] / N
    table = np.hstack([5 + np.cos(3 * angle), np.sin(3 * angle), 2 * np.cos(11 * angle)])
    shares = characters.spectrum(table)
    assert shares == pytest.approx(np.bincount([3, 11], [N, 4 * N], 12)[1:] / (5 * N))
    assert characters.key_frequencies(shares, 0.75) == [11] and characters.key_frequencies(shares, 0.9) == [3, 11]


def test_a_character_is_noise_in_the_order_of_the_integers() -> None:
    table = np.cos(2 * np.pi * 7 * characters.logarithms(97)[1:, None] / 96)  # rows x = 1 … 96
    in_order = table[characters.powers(97) - 1]
    assert characters.gini(characters.spectrum(in_order)) > 0.97 and characters.gini(characters.spectrum(table)) < 0.65


def test_gini() -> None:
    assert characters.gini(np.ones(10)) == pytest.approx(0) and characters.gini(np.eye(10)[0]) == pytest.approx(0.9)
    assert characters.gini(np.array([3.0, 1.0])) == pytest.approx(0.25)


def test_averages_keep_what_depends_on_the_difference() -> None:
    la, lb = np.mgrid[:N, :N] * 2 * np.pi / N
    difference, total = np.cos(4 * (la - lb) + 1)[..., None], np.cos(4 * (la + lb) + 1)[..., None]
    everywhere = np.ones((N, N), bool)
    mixed = 7 + difference + total + np.cos(4 * la)[..., None]
    assert characters.averaged(mixed, everywhere) == pytest.approx(7 + difference)
    assert characters.averaged(mixed, everywhere, sign=1) == pytest.approx(7 + total)
    some = np.random.RandomState(0).rand(N, N) < 0.5
    assert characters.averaged(difference, some) == pytest.approx(difference)
    assert characters.averaged(np.where(some[..., None], mixed, 0), ~some) == pytest.approx(0), (
        "blind to all other pairs"
    )
    sign = ((-1.0) ** np.add.outer(np.arange(N), np.arange(N)))[..., None]
    three = np.concatenate([difference + 2 * sign + total, 0 * sign, -difference - 2 * sign], axis=2)
    assert characters.difference_spectrum(three) == pytest.approx(np.bincount([4, 11], [1, 8], 12)[1:] / 9)


def test_cosines() -> None:
    s = 2 * np.pi * np.arange(N) / N
    amplitudes, share = characters.cosines(3 * np.cos(2 * s) + np.cos(11 * s) + np.sin(4 * s))
    assert amplitudes == pytest.approx(np.bincount([2, 11], [3, 1], 12)[1:])
    assert share == pytest.approx((4.5 + 1) / (4.5 + 1 + 0.5))


def test_profile_of_logits_made_of_cosines() -> None:
    made = 3 * grid(2) + grid(5)
    means, explained = characters.profile(made + np.random.RandomState(0).rand(N, N, 1))  # what no softmax sees
    assert explained == pytest.approx(1)
    assert means == pytest.approx(made[:, 0, 0])
    assert characters.profile(made + grid(2)[::-1])[1] < 0.999
    best = made.argmax(2)
    la, lb = np.mgrid[:N, :N]
    assert (best == (la - lb) % N).all(), "the cosines add up where log c = log a - log b"


def test_purity_of_neurons() -> None:
    la, lb = np.mgrid[:N, :N] * 2 * np.pi / N
    one = np.cos(3 * la) + 0.5 * np.sin(3 * lb) + np.cos(3 * la - 3 * lb) + 9
    two = np.cos(3 * la) + np.cos(5 * lb)
    frequency, share = characters.purity(np.stack([one, two], -1))
    assert frequency.tolist() == [3, 3] and share == pytest.approx([1, 0.5])


def test_cross_entropy() -> None:
    logits = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]]))
    assert characters.cross_entropy(logits + 1000, np.array([0, 2])) == pytest.approx(-(np.log(0.5) + np.log(0.1)) / 2)
