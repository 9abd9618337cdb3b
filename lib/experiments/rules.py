"""Notebook 10: what has it learned? Other operations and structured splits, each cell with ten seeds.

Each seed has a split of its own. Everything is the recipe of notebook 05 but for what a cell changes. The times are
estimates for two cores of 2.6 GHz, at 30 ms a step of 512 equations.
"""

from collections.abc import Iterable

from lib.config import RunConfig
from lib.experiments.ablation import CLAIM, RECIPE
from lib.experiments.presets import Changes, own_splits

FIRST = 3000  # the first seed, of the run and of its split: no trial or other experiment has it
ANSWERS = {"train.keep_answers": True}  # to read its errors
# the rate is down from step 400 on: what is not solved by 1,000 hardly moves any more. An evaluation costs six steps
RULE = RECIPE.override({"train.max_steps": 1000, "train.go_on": 1.25, "train.eval_every": 20, "train.eval_growth": 1.1})
SUM, QUADRATIC = {"data.operation": "+"}, {"data.operation": "a**2+a*b+b**2"}


def only(condition: str) -> Changes:
    """Train on all equations for which the condition holds."""
    return {"data.train_where": condition, "data.train_fraction": 1} | ANSWERS


DIVISORS: dict[str, Changes] = {
    "half, at random": {},
    "half, b ≤ 48": only("b <= 48"),
    "… b in tokens of its own": only("b <= 48") | {"data.own_b": True},
    "half, at random, own b": {"data.own_b": True},
    "quarter, at random": {"data.train_fraction": 0.25},
    "quarter, b ≤ 24": only("b <= 24"),
}
PARITY: dict[str, Changes] = {"a + b even": SUM | only("(a+b) % 2 == 0"), "half, at random": SUM}
MIRRORS: dict[str, Changes] = {
    "a² + ab + b²": QUADRATIC | ANSWERS,
    "a² + ab + b² + a": {"data.operation": "a**2+a*b+b**2+a"} | ANSWERS,  # (b, a) has another answer
    "a + b, a ≤ b": SUM | only("a <= b"),
}
LARGE = {"data.train_fraction": 0.8, "train.max_steps": 600}
BATCHES: dict[str, Changes] = {
    "50 %, batches of 512": {"train.max_steps": 600},
    "50 %, all 4,656 at once": {"train.batch_size": 4656, "train.max_steps": 600},
    "80 %, batches of 512": LARGE,
    "80 %, batches of 2,048": LARGE | {"train.batch_size": 2048},
}
# the same number of steps for all: what is learned by heart comes last
NOISE: dict[float, Changes] = {
    share: {"data.label_noise": share, "train.stop_at": 0.0, "train.eval_every": 100} | ANSWERS
    for share in (0.0, 0.02, 0.05, 0.1, 0.2)
}
# Power et al. 2022 (arXiv 2201.02177, A.1.1): nine operations modulo 97 and three products of permutations; here a·b as
# well, and a modulus that is not prime
OPERATIONS: dict[str, Changes] = {
    "a + b": SUM,
    "a - b": {"data.operation": "-"},
    "a·b": {"data.operation": "a*b"},
    "a / b": {},
    "a / b, or a - b for even b": {"data.operation": "a/b if b % 2 == 1 else a-b"},
    "a² + b²": {"data.operation": "a**2+b**2"},
    "a² + ab + b²": QUADRATIC,
    "a² + ab + b² + a": {"data.operation": "a**2+a*b+b**2+a"},
    "a³ + ab": {"data.operation": "a**3+a*b"},
    "a³ + ab² + b": {"data.operation": "a**3+a*b**2+b"},
    "a + b mod 96": SUM | {"data.p": 96},
    "a·b mod 96": {"data.operation": "a*b", "data.p": 96},
    "a·b in S₅": {"data.operation": "s5(a*b)", "data.p": 120},
    "a·b·a in S₅": {"data.operation": "s5(a*b*a)", "data.p": 120},
    "a·b·a⁻¹ in S₅": {"data.operation": "s5(a*b*a**-1)", "data.p": 120},
}
SHARES = {0.2: 512, 0.4: 512, 0.6: 1024, 0.8: 2048}  # and the batch: 512 is too small for much data (bet 4)


def cell(changes: Changes) -> list[RunConfig]:
    """Ten runs that differ by seed and split alone."""
    return own_splits(RULE, changes, CLAIM, FIRST)


def rule(name: str, share: float) -> Changes:
    """A cell of the grid; fewer steps and evaluations, for the many that are never solved."""
    sparse = {"train.max_steps": 600, "train.eval_every": 40, "train.eval_growth": 1.15}
    return OPERATIONS[name] | sparse | {"data.train_fraction": share, "train.batch_size": SHARES[share]}


def cells(changes: Iterable[Changes]) -> list[RunConfig]:
    """The runs of several cells, each run once."""
    return list(dict.fromkeys(run for each in changes for run in cell(each)))


def rules_divisors() -> list[RunConfig]:
    """Bet 1: trained on some divisors, asked for others (10 minutes)."""
    return cells(DIVISORS.values())


def rules_parity() -> list[RunConfig]:
    """Bet 2: trained on even sums, asked for odd ones (4 minutes)."""
    return cells(PARITY.values())


def rules_mirrors() -> list[RunConfig]:
    """Bet 3: is a o b = b o a built in? (10 minutes)."""
    return cells(MIRRORS.values())


def rules_batches() -> list[RunConfig]:
    """Bet 4: more data, larger batches (15 minutes)."""
    return cells(BATCHES.values())


def rules_noise() -> list[RunConfig]:
    """Bet 5: some of the labels are wrong (15 minutes)."""
    return cells(NOISE.values())


def rules_grid() -> list[RunConfig]:
    """Bet 6: which rules can be learned, from how much of the data (an hour and a half)."""
    return cells(rule(name, share) for name in OPERATIONS for share in SHARES)
