"""The tasks of notebook 09: gradients, memory, precision."""

from typing import Any

import numpy as np
import torch

from lib.course.answers import array, close, near, normal, require
from lib.course.task import task
from lib.optim import total_norm


@task('''
09.1 · Clip the gradients

The norm of all gradients together is the root of the sum of the squares of all their numbers. If it is above `limit`,
multiply all gradients by the same factor, such that the norm is `limit`. Otherwise they stay as they are. For
example, `clip([torch.tensor([3.0, 4.0])], 1)[0]` is `[0.6, 0.8]`.

def clip(gradients, limit):
    """The new gradients: a list of tensors of the same shapes."""
    ### BEGIN SOLUTION
    norm = sum((g**2).sum() for g in gradients) ** 0.5
    factor = limit / norm if norm > limit else 1.0
    mine = [factor * g for g in gradients]
    ### END SOLUTION
    return mine
''')
def clip(mine: Any, random: np.random.RandomState) -> None:
    for limit, scale in ((1.0, 10.0), (1.0, 0.01), (5.0, 3.0), (0.5, 2.0), (2.0, 1e-3)):
        shapes = ((3, 4), (5,), (2, 2))
        gradients = [scale * (i + 1) * normal(random, *shape) for i, shape in enumerate(shapes)]
        given = mine(gradients, limit)
        require(isinstance(given, list | tuple) and len(given) == 3, "must be a list of as many tensors as were given")
        got = [torch.from_numpy(array(x, shape).astype(float)) for x, shape in zip(given, shapes, strict=True)]
        norm, new = total_norm(gradients).item(), total_norm(got).item()
        told = f": the norm was {norm:.3g} and is {new:.3g}, the limit {limit:g}"
        same = all(close(x, y, 1e-3) for x, y in zip(got, gradients, strict=True))
        require(norm > limit or same, f"gradients below the limit must stay as they are{told}")
        if norm > limit:
            require(new <= limit * 1.001, f"the norm of all gradients together is above the limit{told}")
            require(new >= limit * 0.999, f"the gradients are smaller than they need be{told}")
            factors = [(x / y).flatten() for x, y in zip(got, gradients, strict=True)]
            require(np.ptp(torch.cat(factors).numpy()) < 1e-3, f"not all have been multiplied by one factor{told}")


@task("""
09.2 · The memory that is always there. Predict, then check

GPT-2 XL has 1.558 billion parameters. How many GB (10⁹ bytes) do its weights, their gradients and AdamW's two moments
take in float32, before there is any activation? Three digits suffice, or a formula.

### BEGIN SOLUTION
mine = 1.558 * 4 * (1 + 1 + 2)  # 4 bytes each; weight, gradient and two moments
### END SOLUTION
""")
def always_there(mine: Any, random: np.random.RandomState) -> None:
    one = 1.558 * 4
    known = {
        "that is the weights alone": one,
        "AdamW keeps two moments of each weight": 3 * one,
        "float32 has 32 bits, which are 4 bytes": 32 * one,
        "that is 8 bytes for each parameter: either a kind of number is missing, or float32 has more bytes": 2 * one,
        "asked are GB, that is 10⁹ bytes": 4 * one * 1e9,
    }
    near(mine, 4 * one, known, "how many numbers are kept for each parameter, and how many bytes has each?", 0.01)


@task("""
09.3 · Small steps in bfloat16. Predict, then check

A weight of 1 is kept in bfloat16, which has 8 significant binary digits. It gets 100 updates of +0.001, one after the
other, each rounded to bfloat16. What is the weight then?

### BEGIN SOLUTION
w = torch.tensor(1.0, dtype=torch.bfloat16)
for _ in range(100):
    w = w + 0.001  # the next number above 1 is 1.0078: each step is rounded away
mine = w
### END SOLUTION
""")
def small_steps(mine: Any, random: np.random.RandomState) -> None:
    weight = torch.tensor(1.0, dtype=torch.bfloat16)
    for _ in range(100):
        weight = weight + 0.001
    known = {
        "so it would be without rounding; what is the next number above 1 in bfloat16?": 1.1,
        "that is the sum, rounded once; each of the 100 results is rounded": 1.1015625,
        "that is a single step of the numbers of bfloat16; does an update of 0.001 get there?": 1.0078125,
        "each update begins at 1 or above": 0.0,
    }
    hint = "what is the next number above 1 in bfloat16, and where is 1.001 rounded to?"
    near(mine, weight.item(), known, hint)
