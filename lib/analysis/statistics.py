"""Intervals, medians and tests: Wilson, Kaplan and Meier, the log-rank test, Holm, and the ratio of two means."""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

Z = 1.96  # standard deviations of a normal distribution that hold 95 %
RESAMPLES = 10_000  # of the bootstrap


def wilson(successes: int, n: int) -> tuple[float, float]:
    """The Wilson score interval of 95 % of a proportion (Wilson 1927): (low, high).

    Unlike the normal approximation it stays within 0 and 1 and is honest about 0 of n and n of n.
    """
    p, z2 = successes / n, Z * Z
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def at_least(share: float, digits: int = 1) -> str:
    """A share in per cent, rounded down: 0.9996 is "99.9%", and only 1 is "100.0%"."""
    return f"{math.floor(share * 10 ** (digits + 2) + 1e-9) / 10**digits:.{digits}f}%"


def kaplan_meier(times: Sequence[float], observed: Sequence[bool]) -> list[tuple[float, float, float]]:
    """The Kaplan-Meier estimate (1958) of the share of runs not yet grokked, as rows (time, share, Greenwood error).

    `times`: the step of grokking where `observed`, else the last step of a run that had not grokked by then
    (right-censored). One row per distinct time of grokking. The error is that of log(-log(share)).
    """
    share, variance, rows = Fraction(1), 0.0, []
    for time in sorted({t for t, seen in zip(times, observed, strict=True) if seen}):
        at_risk = sum(t >= time for t in times)
        events = sum(t == time and seen for t, seen in zip(times, observed, strict=True))
        share *= 1 - Fraction(events, at_risk)
        if at_risk > events:
            variance += events / (at_risk * (at_risk - events))
        error = math.sqrt(variance) / abs(math.log(share)) if 0 < share < 1 else math.inf
        rows.append((float(time), float(share), error))
    return rows


def median_time(times: Sequence[float], observed: Sequence[bool]) -> tuple[float | None, float | None, float | None]:
    """Kaplan-Meier median with its interval of 95 % (Brookmeyer and Crowley 1982, log-log): (median, low, high).

    The median is the time of a run: of an even number, the lower of the two in the middle. None where the share of
    runs not yet grokked never falls that far within the observed time. A share of 0 has no error on that scale; it
    closes the interval if there are runs enough: that all of n fall below the true median has a probability of 2^-n,
    at most 2.5 % from 6 runs on.
    """
    rows = kaplan_meier(times, observed)

    def first_below(shift: float) -> float | None:
        """First time at which the share, moved by `shift` errors on the log(-log) scale, is at most one half."""
        for time, share, error in rows:
            if (share > 0 and share ** math.exp(shift * error) <= 0.5) or (share == 0 and sum(observed) >= 6):
                return time
        return None

    median = next((time for time, share, _ in rows if share <= 0.5), None)
    return median, first_below(Z), first_below(-Z)


Times = tuple[Sequence[float], Sequence[bool]]  # times, and whether each is an event or the end of the watch


def log_rank(x: Times, y: Times) -> float:
    """p, two-sided, of the log-rank test (Mantel 1966) that two samples have one distribution of times.

    At each time of an event, the events among x are compared with their share of those still at risk; the squared sum
    of the differences over its variance is χ² with one degree of freedom. 1.0 if there is nothing to compare.
    """
    times, observed = (np.concatenate(pair) for pair in zip(x, y, strict=True))
    first = np.arange(len(times)) < len(x[0])
    difference = variance = 0.0
    for time in np.unique(times[observed.astype(bool)]):
        at_risk, now = times >= time, (times == time) & observed.astype(bool)
        n, n_first, events = at_risk.sum(), (at_risk & first).sum(), now.sum()
        difference += (now & first).sum() - events * n_first / n
        if n > 1:
            variance += events * (n_first / n) * (1 - n_first / n) * (n - events) / (n - 1)
    return math.erfc(math.sqrt(difference**2 / variance / 2)) if variance else 1.0


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Each p by name, adjusted so that all tests together err with at most its probability (Holm 1979)."""
    adjusted, largest = {}, 0.0
    for i, name in enumerate(sorted(p, key=p.__getitem__)):
        largest = max(largest, min(1.0, (len(p) - i) * p[name]))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p}


def median_and_range(values: Sequence[float]) -> list[float]:
    """Median (of an even number of values, the mean of the two in the middle), lowest and highest."""
    return [float(np.median(values)), float(min(values)), float(max(values))]


def ratio(x: Sequence[float], y: Sequence[float]) -> tuple[float, float, float]:
    """The geometric mean of x over that of y, with a 95 % interval: (ratio, low, high).

    Percentiles of bootstrap samples (Efron 1979), always the same. Raises ValueError if a value is not above 0.
    """
    logs = [np.log(values) for values in (x, y) if min(values) > 0]
    if len(logs) < 2:
        raise ValueError(f"all values must be above 0: {x}, {y}")
    random = np.random.RandomState(0)
    means = [values[random.randint(len(values), size=(RESAMPLES, len(values)))].mean(1) for values in logs]
    low, high = np.percentile(means[0] - means[1], (2.5, 97.5))
    return float(np.exp(logs[0].mean() - logs[1].mean())), float(np.exp(low)), float(np.exp(high))
