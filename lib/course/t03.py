"""The tasks of notebook 03: what is measured, and the learning rate."""

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from lib.config import OptimConfig
from lib.course.answers import close, near, number, require
from lib.course.task import task
from lib.data import IGNORE
from lib.optim import Optimizer


@task('''
03.1 · What need not be computed twice

Two equations that begin alike share what a causal network computes there: 12/5= and 12/7= share 12 and 12/, and
nothing after that. `tokens` (B, T) holds a batch of equations. Count the different beginnings, of 1 to T tokens, in
the batch. For example, `n_states(torch.tensor([[1, 9, 5], [1, 9, 7], [2, 9, 5]]))` is `7`.

def n_states(tokens):
    """One whole number: B × T if no two equations share a beginning."""
    ### BEGIN SOLUTION
    B, T = tokens.shape
    mine = len({tuple(row[:t]) for row in tokens.tolist() for t in range(1, T + 1)})
    ### END SOLUTION
    return mine
''')
def n_states(mine: Any, random: np.random.RandomState) -> None:
    for B, T, V in ((40, 4, 5), (30, 5, 2), (6, 4, 3)):
        tokens = random.randint(0, V, (B, T))
        by_length = [len(np.unique(tokens[:, :t], axis=0)) for t in range(1, T + 1)]
        known = {
            "that is without any sharing": B * T,
            "a token after different beginnings is not the same": sum(len(np.unique(column)) for column in tokens.T),
            "that is the number of different equations; count their beginnings, too": by_length[-1],
            "the whole equation is a beginning of T tokens: it counts, too": sum(by_length[:-1]),
            "a beginning has at least one token": sum(by_length) + 1,
        }
        near(mine(torch.from_numpy(tokens)), sum(by_length), known, f"tried with {B} rows of {T} tokens", 1e-9)


@task('''
03.2 · Right in every digit

`predicted` and `targets` are token ids (B, T). A target of -100 is not scored. An answer counts as right only if all
scored tokens of its row are. What share of the rows is right? For example, `accuracy(torch.tensor([[7, 2], [1, 2]]),
torch.tensor([[-100, 2], [1, 3]]))` is `0.5`.

def accuracy(predicted, targets):
    """One number from 0 to 1."""
    ### BEGIN SOLUTION
    right = (predicted == targets) | (targets == -100)
    mine = right.all(1).float().mean()
    ### END SOLUTION
    return mine
''')
def accuracy(mine: Any, random: np.random.RandomState) -> None:
    for B, T in ((40, 4), (20, 5), (15, 3)):
        targets = torch.from_numpy(random.randint(0, 5, (B, T)))
        wrong = torch.from_numpy(random.rand(B, T) < 0.2)
        given = (targets + wrong) % 5
        unscored = torch.from_numpy(np.arange(T) < random.randint(0, T, B)[:, None])
        targets[unscored] = IGNORE
        right = (given == targets)[~unscored]
        rows = torch.stack([(given == targets)[b][~unscored[b]].all() for b in range(B)]).double()
        true, whole = rows.mean().item(), (given == targets).all(1).double()
        scored = (given == targets).double() / (~unscored).sum(1, keepdim=True)
        some = (scored.sum(1), (scored.sum(1) > 0).double(), (given == targets)[:, -1].double())
        known = {
            "that is the share of right tokens; asked is that of right rows": right.double().mean().item(),
            "a target of -100 is not scored: it cannot make a row wrong": whole.mean().item(),
            "that is the share of the wrong rows": 1 - true,
            "a share is the number of right rows by the number of all rows": true * B,
            "a share is from 0 to 1": true * 100,
            "a row is right only if all of its scored tokens are": [rows.mean().item() for rows in some],
        }
        near(mine(given, targets), true, known, f"tried with {B} rows of {T} tokens")


@task('''
03.3 · A schedule

Write the schedule of this notebook's runs. The learning rate grows in equal parts over the first `warmup` steps: peak
/ `warmup` at step 0, the peak at step `warmup` - 1. From step `warmup`, where it is still at its peak, it falls along
half a cosine to 0 at step `fall`, and stays there. For example, `rate(0, 1.0, 10, 110)` is `0.1`, and `rate(60, 1.0,
10, 110)` is `0.5`.

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
''')
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
