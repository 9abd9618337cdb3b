"""The tasks of notebook 05: a step of AdamW, and honest counting."""

from typing import Any

import numpy as np
import torch
from torch.optim.adamw import adamw

from lib.analysis.statistics import median_time
from lib.course.answers import Wrong, array, close, near, normal, number, require
from lib.course.task import task


@task('''
05.1 · A step of AdamW

A weight `w` has the gradient `g`. First w shrinks by lr × decay × w. Then m becomes 0.9 m + 0.1 g, and v becomes 0.98
v + 0.02 g². Both began at 0, so they are divided by 1 - 0.9^t and 1 - 0.98^t (t = 1 in the first step) before use: w
loses lr × m̂ / (√v̂ + 1e-8). Return the new w, and the new m and v as they are kept, undivided.

def step(w, g, m, v, t, lr, decay):
    """The new w, m and v: all are tensors of one shape."""
    ### BEGIN SOLUTION
    m, v = 0.9 * m + 0.1 * g, 0.98 * v + 0.02 * g**2
    m_hat, v_hat = m / (1 - 0.9**t), v / (1 - 0.98**t)
    mine = w - lr * decay * w - lr * m_hat / (v_hat**0.5 + 1e-8), m, v
    ### END SOLUTION
    return mine
''')
def step(mine: Any, random: np.random.RandomState) -> None:
    for lr, decay in ((0.01, 0.0), (0.1, 1.0), (0.02, 2.0)):
        w, m, v = normal(random, 4, 3), *torch.zeros(2, 4, 3)
        betas = {"beta1": 0.9, "beta2": 0.98, "eps": 1e-8, "amsgrad": False, "maximize": False}
        for t in (1, 2, 3):
            g = normal(random, 4, 3) * 10.0 ** -torch.from_numpy(random.randint(0, 9, (4, 3)))
            given = mine(w, g, m, v, t, lr, decay)
            adamw([w], [g], [m], [v], [], [torch.tensor(t - 1.0)], lr=lr, weight_decay=decay, **betas)
            require(isinstance(given, tuple | list) and len(given) == 3, "must be three tensors: w, m and v")
            told = f" (t = {t}, lr {lr}, decay {decay})"
            by_decay = "is right without decay, wrong with it: decay acts on w alone, not on the gradient"
            of_m, of_v = (
                f"is wrong: it is kept undivided, from {what}" for what in ("0.9 of the old one", "g squared")
            )
            require(close(array(given[1], (4, 3)), m), f"m {by_decay if decay else of_m}{told}")
            require(np.allclose(array(given[2], (4, 3)), v, 1e-4, 0), f"v {by_decay if decay else of_v}{told}")
            where = "w is wrong: look at the divisions, the root and the sign"
            where = f"w is right with decay 0, and wrong with decay {decay:g}" if decay else where
            require(close(array(given[0], (4, 3)), w), f"m and v are right; {where}{told}")


@task('''
05.2 · The median, when some never grok

`t_grok` lists the T_grok of some runs, with None for a run that did not grok within the budget: its T_grok is larger
than all others. What is the median of all runs? Of an even number of runs, take the lower of the two in the middle.
For example, `median([300, None, 500])` is `500`.

def median(t_grok):
    """One number, or -1 where the run in the middle did not grok."""
    ### BEGIN SOLUTION
    last = float("inf")
    ordered = sorted(last if t is None else t for t in t_grok)
    middle = ordered[(len(ordered) - 1) // 2]
    mine = -1 if middle == last else middle
    ### END SOLUTION
    return mine
''')
def median(mine: Any, random: np.random.RandomState) -> None:
    counts = ((5, 0), (5, 1), (6, 2), (4, 0), (4, 2), (5, 3), (7, 3), (3, 3), (1, 0), (8, 4), (10, 6), (2, 1))
    for n, n_never in counts:
        times: list[float | None] = [int(t) for t in random.choice(np.arange(100, 800), n, replace=False)]
        times[:n_never] = [None] * n_never
        random.shuffle(times)
        true = median_time([800 if t is None else t for t in times], [t is not None for t in times])[0]
        got, told = number(mine(times)), f" for {times}"
        done = [t for t in times if t is not None]
        if true is None:
            require(got == -1, f"the run in the middle did not grok, and yours says {got:g}{told}")
        elif got != true:
            require(got != -1, f"the run in the middle did grok{told}")
            require(got in done, f"{got:g} is the T_grok of none of these runs{told}")
            raise Wrong(f"{got:g} is too {'late' if got > true else 'early'}{told}")


@task("""
05.3 · Thirty-five tests. Predict, then check

Suppose that none of 35 changes has any effect. Each is tested against the baseline, independently, and looks like a
success, by chance alone, with a probability of 5 %. How likely is it that at least one of the 35 does? Three digits
suffice, or a formula.

### BEGIN SOLUTION
mine = 1 - 0.95**35  # 1 less the chance that all 35 tests are right: hence Holm's correction
### END SOLUTION
""")
def thirty_five(mine: Any, random: np.random.RandomState) -> None:
    known = {
        "that is how many err on average; a probability is at most 1": 35 * 0.05,
        "that is for one of them alone": 0.05,
        "that is the probability that none of them errs": 0.95**35,
        "nearly sure, but not quite": 1.0,
    }
    near(mine, 1 - 0.95**35, known, "how likely is it that all 35 tests are right?", 0.01)
