"""How surely the recipe groks, and where else: a thousand seeds, other primes, other shares of the data.

Each seed has a split of its own. The times are estimates for two cores of 2.6 GHz.
"""

from lib.config import RunConfig
from lib.experiments.ablation import RECIPE
from lib.experiments.presets import TUNING, Changes, grid, own_splits

FIRST = 10_000  # the first seed, of the run and of its split: no trial or other experiment has it
THOUSAND, BESIDE, TRIED = 1000, 200, 4
# the middle of the basin that thousand_tuning maps, not its fastest cell; batches of 512 need 1.5 × the steps
RATE, DECAY, BATCH = 1e-2, 2.0, 1024
# what is not solved by 600 steps, 6 × the median, hardly moves any more: the rate is down since step 400
SURE = RECIPE.override(
    {"optim.lr": RATE, "optim.weight_decay": DECAY, "train.batch_size": BATCH}
    | {"train.max_steps": 600, "train.go_on": 2, "train.eval_growth": 1.1}
)
TRIALS = grid((5e-3, 1e-2, 2e-2, 4e-2), (0.5, 1.0, 2.0, 4.0))
TRAINED = 4656  # equations that SURE trains on: half of 97 × 96
PRIMES, SHARES = (31, 53, 97, 113, 197, 397), (0.4, 0.5, 0.6, 0.7, 0.8)


def rule(p: int, share: float) -> Changes:
    """Batch and decay for division modulo p with a share of the equations for training.

    A batch is a quarter of the training equations, as with SURE nearly, but at most 4,096. The decay grows as the
    inverse square root of their number: few equations leave more room to learn them by heart.
    """
    n = round(share * p * (p - 1))
    task = {"data.p": p, "data.train_fraction": share}
    return task | {"train.batch_size": min(n // 4, 4096), "optim.weight_decay": round(DECAY * (TRAINED / n) ** 0.5, 2)}


def thousand_tuning() -> list[RunConfig]:
    """Learning rate × weight decay on four seeds each, judged on the validation split (8 minutes)."""
    short = SURE.override({"train.go_on": 1.5})
    return [run for cell in TRIALS.values() for run in own_splits(short, cell, TRIED, first=TUNING)]


def thousand() -> list[RunConfig]:
    """A thousand seeds, each to twice its T_grok (an hour and three quarters)."""
    return own_splits(SURE, {}, THOUSAND, FIRST)
