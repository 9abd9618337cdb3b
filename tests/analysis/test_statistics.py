"""Intervals and survival curves, against worked examples."""

import math

import numpy as np
import pytest

from lib.analysis import statistics


def test_wilson_interval() -> None:
    """Against the worked values of Newcombe 1998 (Statistics in Medicine 17), table I, method 3."""
    assert statistics.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert statistics.wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert statistics.wilson(0, 20) == pytest.approx((0, 0.1611), abs=1e-4)
    assert statistics.wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=1e-4)


def test_a_lowest_share_is_rounded_down() -> None:
    assert [statistics.at_least(x) for x in (1.0, 0.9996, 0.999, 0.7, 0.0)] == [
        "100.0%",
        "99.9%",
        "99.9%",
        "70.0%",
        "0.0%",
    ]
    assert [statistics.at_least(x, 2) for x in (0.99996, 0.57)] == ["99.99%", "57.00%"]


def test_kaplan_meier() -> None:
    """The 6-MP arm of Freireich et al. 1963, the textbooks' example: median 23 weeks, log-log interval from 13 on."""
    times = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
    relapsed = [bool(int(c)) for c in "111010100110001100000"]
    rows = statistics.kaplan_meier(times, relapsed)
    assert [time for time, _, _ in rows] == [6, 7, 10, 13, 16, 22, 23]
    assert [share for _, share, _ in rows] == pytest.approx([0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448], abs=5e-4)
    assert statistics.median_time(times, relapsed) == (23, 13, None)
    assert statistics.median_time([5, 6, 7], [True, True, True]) == (6, 5, None)  # too few to close the interval
    assert statistics.median_time([4, 5, 6, 7, 8, 9], [True] * 6) == (6, 4, 9)
    assert statistics.median_time([420] * 10, [True] * 10) == (420, 420, 420)
    assert statistics.median_time([220] * 12 + [240] * 8, [True] * 20) == (220, 220, 240)
    assert [statistics.median_time(range(1, n + 1), [True] * n)[0] for n in (24, 28, 30, 38)] == [12, 14, 15, 19]
    assert statistics.median_time([5, 6], [False, False]) == (None, None, None)


def test_log_rank() -> None:
    """Freireich et al. 1963: 6-MP against placebo, χ² = 16.79 in the textbooks; and a case by hand."""
    treated = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
    relapsed = [bool(int(c)) for c in "111010100110001100000"]
    placebo = [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]
    p = statistics.log_rank((treated, relapsed), (placebo, [True] * 21))
    assert p == pytest.approx(math.erfc(math.sqrt(16.79 / 2)), rel=1e-2)
    assert statistics.log_rank((placebo, [True] * 21), (treated, relapsed)) == pytest.approx(p)
    # time 1: two of the four at risk are x's, expected 1/2, variance 1/4; time 2: one of three, 1/3 and 2/9
    chi2 = (2 - 1 / 2 - 1 / 3) ** 2 / (1 / 4 + 2 / 9)
    assert statistics.log_rank(([1, 2], [True, True]), ([3, 4], [True, False])) == pytest.approx(
        math.erfc(math.sqrt(chi2 / 2))
    )
    assert statistics.log_rank(([5, 6], [False, False]), ([7], [False])) == 1
    assert statistics.log_rank(([5, np.inf], [True, False]), ([5, np.inf], [True, False])) == 1


def test_log_rank_errs_as_often_as_it_says() -> None:
    random = np.random.RandomState(0)
    p = [statistics.log_rank(*((random.exponential(size=20), [True] * 20) for _ in "xy")) for _ in range(300)]
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.03)


def test_holm() -> None:
    """Of 0.01, 0.02, 0.03 and 0.04: 4 × 0.01, 3 × 0.02, and then never less than the one before."""
    told = statistics.holm({"c": 0.03, "a": 0.01, "d": 0.04, "b": 0.02})
    assert told == pytest.approx({"c": 0.06, "a": 0.04, "d": 0.06, "b": 0.06})
    assert list(told) == ["c", "a", "d", "b"] and statistics.holm({"x": 0.7, "y": 0.8}) == {"x": 1.0, "y": 1.0}
    assert statistics.holm({}) == {}


def test_ratio_of_geometric_means() -> None:
    middle, low, high = statistics.ratio([100, 200, 400, 200], [100, 100, 100])
    assert middle == pytest.approx(2) and low < 2 < high
    x = np.exp(np.random.RandomState(0).randn(400))
    _, low, high = statistics.ratio(x, np.ones(5))
    assert np.log(high / low) == pytest.approx(2 * 1.96 * np.log(x).std() / 20, rel=0.1)
    with pytest.raises(ValueError, match="above 0"):
        statistics.ratio([0, 1], [1])
