"""The tasks of notebook 07: perplexity, and sizes."""

import math
from typing import Any

import numpy as np
from torch import nn

from lib.course.answers import near
from lib.course.task import task


@task('''
07.1 · Perplexity from batches

`losses` holds the mean loss of each batch, in nats per token, and `n_tokens` how many tokens the batch has. The last
batch is often smaller. What is the perplexity of the whole text? For example, `perplexity(np.array([2.0, 5.0]),
np.array([2, 1]))` is `np.exp(3)`.

def perplexity(losses, n_tokens):
    """One number; both arguments are arrays of the same length."""
    ### BEGIN SOLUTION
    nll = (losses * n_tokens).sum()  # the sum over all tokens
    mine = np.exp(nll / n_tokens.sum())
    ### END SOLUTION
    return mine
''')
def perplexity(mine: Any, random: np.random.RandomState) -> None:
    for n, last in ((4, 2), (3, 10), (7, 1)):
        losses, sizes = random.uniform(1, 5, n), np.array([16] * (n - 1) + [last])
        loss = float((losses * sizes).sum() / sizes.sum())
        known = {
            "that counts each batch alike; a batch counts by its tokens": math.exp(losses.mean()),
            "that is a mean of perplexities": (np.exp(losses) * sizes).sum() / sizes.sum(),
            "that is a mean of perplexities, and counts each batch alike": np.exp(losses).mean(),
            "that is the loss; perplexity is e to its power": loss,
            "the losses are in nats: perplexity is e to their power": 2**loss,
            "the last batch is not always a full one": math.exp((losses * sizes).sum() / (16 * n)),
        }
        told = f"tried with losses {np.round(losses, 2).tolist()}, tokens {sizes.tolist()}"
        near(mine(losses, sizes), math.exp(loss), known, told)


@task("""
07.2 · What is wrong with a mean of perplexities? Predict, then check

Two batches of equal size have losses of 3 and 5 nats per token. Someone reports the mean of the two batches'
perplexities. How many times as large as the perplexity of the whole is this number? Three digits suffice, or a formula.

### BEGIN SOLUTION
mine = (np.exp(3) + np.exp(5)) / 2 / np.exp((3 + 5) / 2)  # the large loss weighs more
### END SOLUTION
""")
def too_large(mine: Any, random: np.random.RandomState) -> None:
    mean = (math.exp(3) + math.exp(5)) / 2
    known = {
        "the two are the same only if all batches have the same loss": 1.0,
        "that is the mean itself; asked is how many times as large it is": mean,
        "that is the perplexity of the whole; asked is how many times as large the mean is": math.exp(4),
        "the other way round: the mean divided by the perplexity of the whole": math.exp(4) / mean,
        "that is the difference of the two; asked is their ratio": mean - math.exp(4),
        "asked is how many times as large, not by how much larger": np.array([1, 100]) * (mean / math.exp(4) - 1),
    }
    near(mine, mean / math.exp(4), known, "the perplexity of the whole is e to the power of the mean loss", 0.01)


@task('''
07.3 · How large is an LSTM?

A layer of PyTorch's LSTM has four gates. Each gate has a matrix for its input, a matrix for the state, and two
vectors of biases. The state has `d_hidden` numbers. The first layer reads `d_input` numbers, each further layer the
state of the one below it. For example, `n_parameters(2, 1, 1)` is `20`.

def n_parameters(d_input, d_hidden, n_layers):
    """The number of parameters of all layers."""
    ### BEGIN SOLUTION
    first = 4 * (d_hidden * d_input + d_hidden * d_hidden + 2 * d_hidden)
    further = 4 * (d_hidden * d_hidden + d_hidden * d_hidden + 2 * d_hidden)
    mine = first + (n_layers - 1) * further
    ### END SOLUTION
    return mine
''')
def n_parameters(mine: Any, random: np.random.RandomState) -> None:
    for n_layers in (1, 1, 2, 4):
        d, h = (int(size) for size in random.randint(2, 40, 2))
        h += h == d
        true = sum(weights.numel() for weights in nn.LSTM(d, h, n_layers).parameters())
        known = {
            "that is one gate; a layer has four": true / 4,
            "each gate has two vectors of biases": true - 4 * h * n_layers,
            "the matrix for the state is square: d_hidden by d_hidden": true - 4 * h * h * n_layers,
        }
        further = "; a single layer is right, so look at the further ones" if n_layers > 1 else ""
        near(
            mine(d, h, n_layers),
            true,
            known,
            f"tried with d_input {d}, d_hidden {h}, n_layers {n_layers}{further}",
            1e-9,
        )
