"""What the last answers of a network say of what it has learned: by how much they err, where, and of whose labels."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lib import tasks
from lib.analysis.statistics import median_and_range
from lib.runs.run import Run

Shares = dict[str, float]


def last_answers(run: Run) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Of each split its equations (n, 3), with the true answers, and the network's answers at the end (n,)."""
    return {name: (rows, run.answers[name][-1].astype(int)) for name, rows in tasks.split(run.config.data).items()}


def unseen(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """`last_answers` of val and test together."""
    rows, given = zip(*(answers for name, answers in last_answers(run).items() if name != "train"), strict=True)
    return np.concatenate(rows), np.concatenate(given)


def errors(run: Run) -> np.ndarray:
    """Answer less truth of each unseen equation, the shorter way round: (n,) from -p // 2 to p // 2."""
    rows, given = unseen(run)
    p = run.config.data.p
    return (given - rows[:, 2] + p // 2) % p - p // 2


def error_shares(run: Run, most: int = 3) -> Shares:
    """How many of the unseen equations are missed by so much: "-3" … "+3", where "0" is right, or by more ("…")."""
    missed = errors(run)
    shares = {f"{by:+d}" if by else "0": float((missed == by).mean()) for by in range(-most, most + 1)}
    return shares | {"…": float((abs(missed) > most).mean())}


def mirror_shares(run: Run) -> Shares:
    """The share of right answers to unseen equations a o b, where b o a was in training and where it was not.

    `mirrored`: the share of unseen equations for which it was; nan where there are none to count.
    """
    rows, given = unseen(run)
    trained = np.zeros([run.config.data.p] * 2, bool)
    trained[tuple(tasks.split(run.config.data)["train"][:, :2].T)] = True
    mirrored, right = trained[rows[:, 1], rows[:, 0]], given == rows[:, 2]
    told = {"right": right, "b o a trained": right[mirrored], "b o a unseen": right[~mirrored], "mirrored": mirrored}
    return {name: float(values.mean()) if len(values) else float("nan") for name, values in told.items()}


def label_shares(run: Run) -> Shares:
    """What became of a train split with wrong labels, as shares of four kinds of equations.

    Of those with a wrong label, the ones answered with it, `learned by heart`, and the ones answered rightly all the
    same; of those with a `right label`, and of the `unseen` ones, the ones answered rightly. nan: there are none.
    """
    (rows, given), shown = last_answers(run)["train"], tasks.trained_on(run.config.data)[:, 2]
    wrong = shown != rows[:, 2]
    unseen_rows, unseen_given = unseen(run)
    told = {
        "wrong label, learned by heart": (given == shown)[wrong],
        "wrong label, true answer": (given == rows[:, 2])[wrong],
        "right label": (given == shown)[~wrong],
        "unseen": unseen_given == unseen_rows[:, 2],
    }
    return {name: float(values.mean()) if len(values) else float("nan") for name, values in told.items()}


def over_runs(runs: Sequence[Run], measure: Callable[[Run], Shares]) -> dict[str, Any]:
    """[median, lowest, highest] over the runs of each share; those that no run has are left out."""
    told = [measure(run) for run in runs]
    values = {name: [shares[name] for shares in told if not np.isnan(shares[name])] for name in told[0]}
    return {name: median_and_range(some) for name, some in values.items() if some}
