"""What last answers say, of networks whose answers are made up."""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from lib import tasks
from lib.analysis import rules
from lib.config import DataConfig
from lib.figures import rules as figures


@dataclass
class MadeUp:
    """A run that answers each equation by a function of a, b, c, of which it kept two evaluations."""

    data: DataConfig
    answer: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

    @property
    def config(self) -> SimpleNamespace:
        return SimpleNamespace(data=self.data)

    @property
    def answers(self) -> dict[str, np.ndarray]:
        given = {name: self.answer(*rows.T) % self.data.p for name, rows in tasks.split(self.data).items()}
        return {"step": np.array([5, 10])} | {name: np.stack([0 * each, each]) for name, each in given.items()}


SUM = DataConfig(operation="+", p=13)


def test_errors_are_counted_the_shorter_way_round() -> None:
    assert set(rules.errors(MadeUp(SUM, lambda a, b, c: c - 1))) == {-1}
    assert set(rules.errors(MadeUp(SUM, lambda a, b, c: c + 6))) == {6}
    assert set(rules.errors(MadeUp(SUM, lambda a, b, c: c + 7))) == {-6}
    shares = rules.error_shares(MadeUp(SUM, lambda a, b, c: np.where(b < 5, c, c + 2 + 3 * (b < 9))))
    n = len(rules.errors(MadeUp(SUM, lambda a, b, c: c)))
    rows = rules.unseen(MadeUp(SUM, lambda a, b, c: c))[0]
    assert shares["0"] == (rows[:, 1] < 5).sum() / n and shares["+2"] == (rows[:, 1] >= 9).sum() / n
    assert sum(shares.values()) == pytest.approx(1) and list(shares)[:4] == ["-3", "-2", "-1", "0"]


def test_mirrors_that_were_in_training_are_told_from_others() -> None:
    trained = {tuple(pair) for pair in tasks.split(SUM)["train"][:, :2].tolist()}

    def as_its_mirror(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
        return c + np.array([pair not in trained for pair in zip(b.tolist(), a.tolist(), strict=True)])

    told = rules.mirror_shares(MadeUp(SUM, as_its_mirror))
    assert (told["b o a trained"], told["b o a unseen"]) == (1, 0) and told["right"] == told["mirrored"]
    below = DataConfig(operation="+", p=13, train_where="a <= b", train_fraction=1)
    assert np.isnan(rules.mirror_shares(MadeUp(below, as_its_mirror))["b o a unseen"])


def test_labels_learned_by_heart_are_told_from_true_answers() -> None:
    data = DataConfig(operation="+", p=13, label_noise=0.25)
    shown = {tuple(pair): c for *pair, c in tasks.trained_on(data).tolist()}

    def by_heart(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
        pairs = zip(a.tolist(), b.tolist(), c.tolist(), strict=True)
        return np.array([shown.get((a, b), true) for a, b, true in pairs])

    told = rules.label_shares(MadeUp(data, by_heart))
    assert list(told.values()) == [1, 0, 1, 1]
    assert list(rules.label_shares(MadeUp(data, lambda a, b, c: c)).values()) == [0, 1, 1, 1]
    clean = [MadeUp(SUM, lambda a, b, c: c), MadeUp(SUM, lambda a, b, c: c + 1)]
    assert rules.over_runs(clean, rules.label_shares) == {"right label": [0.5, 0, 1], "unseen": [0.5, 0, 1]}


def test_pictures_show_what_was_measured() -> None:
    noisy = [MadeUp(DataConfig(operation="+", p=13, label_noise=share), lambda a, b, c: c) for share in (0.0, 0.25)]
    lines = figures.noise({0.0: noisy[:1], 0.25: noisy[1:]}).axes[0].lines
    drawn = [line.get_ydata().tolist() for line in lines if len(line.get_xdata())]
    assert drawn == [[1, 1], [1, 1], [0]]  # right labels, unseen; and of the wrong ones none by heart
    panels = figures.errors(
        {"one": [MadeUp(SUM, lambda a, b, c: c + 1)], "other": [MadeUp(SUM, lambda a, b, c: c)]}
    ).axes
    assert [[bar.get_height() for bar in axes.patches].index(1) for axes in panels] == [4, 3]
    first = figures.tables({"all": MadeUp(SUM, lambda a, b, c: c)}).axes[0]
    told = "".join(first.get_title(place) for place in ("left", "center"))  # where it stands is the style's affair
    assert told == "all\ntrain 100.0%\nunseen 100.0%"
