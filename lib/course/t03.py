"""The tasks of notebook 03: what is measured, and the learning rate."""

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from lib import tasks
from lib.config import DataConfig, OptimConfig
from lib.course.answers import close, near, number, require
from lib.course.task import task
from lib.data import IGNORE
from lib.optim import Optimizer


@task(
    "03.1",
    "How many have seen their mirror image? Predict, then check",
    "In addition modulo 97 a random half of the pairs (a, b) is the train split. For what share of the pairs of the"
    " test split is the mirror image (b, a) in the train split?",
    """
### BEGIN SOLUTION
mine = 0.5  # where (b, a) lies has nothing to do with where (a, b) lies
### END SOLUTION
""",
)
def mirrors(mine: Any, random: np.random.RandomState) -> None:
    splits = tasks.split(DataConfig(operation="+", split_seed=1))
    a, b, _ = splits["test"].T
    share = float(np.isin(97 * b + a, splits["train"] @ (97, 1, 0)).mean())
    known = {
        "the pair is known to be a test pair; only the mirror image is left to chance": 0.25,
        "nothing in a random split keeps a pair and its mirror image apart, or together": 0.0,
    }
    near(mine, share, known, "how likely is any given pair to be in the train split?", 0.04)


@task(
    "03.2",
    "Right in every digit",
    "`predicted` and `targets` are token ids (B, T). A target of -100 is not scored. An answer counts as right only if"
    " all scored tokens of its row are. What share of the rows is right?",
    '''
def accuracy(predicted, targets):
    """One number from 0 to 1."""
    ### BEGIN SOLUTION
    right = (predicted == targets) | (targets == -100)
    mine = right.all(1).float().mean()
    ### END SOLUTION
    return mine
''',
)
def accuracy(mine: Any, random: np.random.RandomState) -> None:
    for B, T in ((8, 4), (20, 5), (15, 3)):
        targets = torch.from_numpy(random.randint(0, 5, (B, T)))
        wrong = torch.from_numpy(random.rand(B, T) < 0.2)
        given = (targets + wrong) % 5
        unscored = torch.from_numpy(np.arange(T) < random.randint(0, T, B)[:, None])
        targets[unscored] = IGNORE
        right = (given == targets)[~unscored]
        rows = torch.stack([(given == targets)[b][~unscored[b]].all() for b in range(B)]).double()
        true = rows.mean().item()
        known = {
            "that is the share of right tokens; asked is that of right rows": right.double().mean().item(),
            "a target of -100 is not scored: it cannot make a row wrong": float(
                (given == targets).all(1).mean(dtype=float)
            ),
            "that is the share of the wrong rows": 1 - true,
            "a share is the number of right rows by the number of all rows": true * B,
        }
        near(mine(given, targets), true, known, f"tried with {B} rows of {T} tokens")


@task(
    "03.3",
    "A schedule",
    "Write the schedule of this notebook's runs. The learning rate grows in equal parts over the first `warmup` steps:"
    " peak / `warmup` at step 0, the peak at step `warmup` - 1. From step `warmup`, where it is still at its peak, it"
    " falls along half a cosine to 0 at step `fall`, and stays there.",
    '''
def rate(step, peak, warmup, fall):
    """The learning rate at a step: one number."""
    ### BEGIN SOLUTION
    if step < warmup:
        mine = peak * (step + 1) / warmup
    else:
        progress = min(1, (step - warmup) / (fall - warmup))
        mine = peak * (1 + np.cos(np.pi * progress)) / 2
    ### END SOLUTION
    return mine
''',
)
def rate(mine: Any, random: np.random.RandomState) -> None:
    for warmup, fall in ((10, 110), (100, 2500), (7, 60)):
        peak = float(10 ** -random.uniform(2, 4))
        optim = OptimConfig(lr=peak, warmup_steps=warmup, schedule="cosine", fall_steps=fall)
        true = partial(Optimizer.lr, SimpleNamespace(config=optim, max_steps=0))
        middle, told = (warmup + fall) // 2, f" (warmup {warmup}, fall {fall})"
        later = [fall, fall + 1, 2 * fall, 3 * fall - warmup]
        phases = {
            "in the first step": [0],
            "during the warm-up": range(1, warmup - 1),
            "in the last step of the warm-up": [warmup - 1],
            "in the step after the warm-up": [warmup],
            "on the way down": [warmup + 1, (warmup + middle) // 2, middle, (middle + fall) // 2, fall - 1],
            "from the end of the fall on": later,
        }
        for phase, steps in phases.items():
            for step in steps:
                got = number(mine(step, peak, warmup, fall))
                high = "large" if got > true(step) else "small"
                right = close(got / peak, true(step) / peak)
                require(right, f"too {high} {phase}: step {step}, peak {peak:.2g}{told}")
