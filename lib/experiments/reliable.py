"""How surely the recipe groks, and where else: a thousand seeds, other primes, other shares of the data.

Each seed has a split of its own. The times are estimates for two cores of 2.6 GHz.
"""

from collections.abc import Iterable

from lib.config import RunConfig
from lib.experiments.ablation import MANY, RECIPE
from lib.experiments.presets import TUNING, Changes, grid, own_splits

FIRST = 10_000  # the first seed, of the run and of its split: no trial or other experiment has it
SEEDS, TRIED = 1000, 4
TRIALS = grid((5e-3, 1e-2, 2e-2, 4e-2), (0.5, 1.0, 2.0, 4.0))
PRIMES, SHARES = (31, 53, 113, 197), (0.3, 0.4, 0.6, 0.7, 0.8)


def rule(p: int = 97, share: float = 0.5) -> Changes:
    """Batch and decay for division modulo p with a share of the equations for training.

    A batch is 22 % of the training equations, but at most 4,096: 1,024 for half of those modulo 97. The decay is 2
    there, and grows as the inverse square root of their number: few equations are easy to learn by heart.
    """
    n, home = round(share * p * (p - 1)), 97 * 96 / 2
    task = {"data.p": p, "data.train_fraction": share, "train.batch_size": min(round(0.22 * n), 4096)}
    return task | {"optim.weight_decay": round(2 * (home / n) ** 0.5, 2)}


# the middle of the basin that reliable_tuning maps; what is not solved by 600 steps, some 6 × the median, hardly
# moves any more: the rate is down from step 400 on
SURE = RECIPE.override(rule() | {"train.max_steps": 600, "train.go_on": 2, "train.eval_growth": 1.1})


def reliable_tuning() -> list[RunConfig]:
    """Learning rate × weight decay on four seeds each, judged on the validation split (8 minutes)."""
    short = SURE.override({"train.go_on": 1.5})
    return [run for cell in TRIALS.values() for run in own_splits(short, cell, TRIED, first=TUNING)]


def reliable() -> list[RunConfig]:
    """A thousand seeds, each to twice its T_grok (80 minutes)."""
    return own_splits(SURE, {}, SEEDS, FIRST)


def other_primes() -> list[RunConfig]:
    """The rule on other primes, half of the equations, 20 seeds each (20 minutes)."""
    return elsewhere(rule(p) for p in PRIMES)


def other_shares() -> list[RunConfig]:
    """The rule on other shares of division modulo 97, 20 seeds each (20 minutes)."""
    return elsewhere(rule(share=share) for share in SHARES)


def elsewhere(cells: Iterable[Changes]) -> list[RunConfig]:
    return [run for cell in cells for run in own_splits(SURE, cell | {"train.go_on": 1.5}, MANY, FIRST)]
