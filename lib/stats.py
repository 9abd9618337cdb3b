"""When a run fits, when it groks, and how long the delay is."""

from collections.abc import Sequence

SOLVED = 0.99  # the accuracy that counts as fitted or grokked
PATIENCE = 3  # evaluations in a row that make it last


def first_crossing(steps: Sequence[int], accuracy: Sequence[float], level: float, patience: int = 1) -> int | None:
    """Step of the first of `patience` consecutive evaluations with accuracy >= level; None if there is none."""
    streak = 0
    for i, value in enumerate(accuracy):
        streak = streak + 1 if value >= level else 0
        if streak == patience:
            return int(steps[i - patience + 1])
    return None


def steps_to_fit(steps: Sequence[int], train_acc: Sequence[float]) -> int | None:
    """T_fit: the first evaluation with 99 % train accuracy."""
    return first_crossing(steps, train_acc, SOLVED)


def steps_to_grok(steps: Sequence[int], test_acc: Sequence[float]) -> int | None:
    """T_grok: the first of three consecutive evaluations with 99 % test accuracy."""
    return first_crossing(steps, test_acc, SOLVED, PATIENCE)


def lowest_after(steps: Sequence[int], accuracy: Sequence[float], start: int | None) -> float | None:
    """The lowest accuracy from step `start` on: whether a grokked network stays so. None if it never grokked."""
    if start is None:
        return None
    return min(value for step, value in zip(steps, accuracy, strict=True) if step >= start)
