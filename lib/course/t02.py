"""The tasks of notebook 02: what the network may see."""

from typing import Any

import numpy as np
import torch

from lib.course.answers import Wrong, array, near, require
from lib.course.task import task
from lib.model import attention_mask


@task("""
02.1 · A split that leaks. Predict, then check

Someone draws 4,656 of the 9,312 equations for training, and then 4,656 of the 9,312 for testing, each time at random
and with replacement: after each draw the equation is put back. What share of the test equations has been trained on?
(A network that only remembers would have this test accuracy. Three digits suffice, or a formula.)

### BEGIN SOLUTION
mine = 1 - (1 - 1 / 9312) ** 4656  # 1 less the chance that no training draw is this one
### END SOLUTION
""")
def leak(mine: Any, random: np.random.RandomState) -> None:
    missed = (1 - 1 / 9312) ** 4656
    known = {
        "some equations are drawn for training more than once, so there are fewer different ones": 0.5,
        "that is the share that has not been trained on": missed,
        "the share is of the test equations, not of all equations": (1 - missed) / 2,
        "the share is at most 1": 100 * (1 - missed),
    }
    near(mine, 1 - missed, known, "how likely is it that no training draw meets a given equation?", 0.01)


@task('''
02.2 · A mask for padding, by hand

A batch has sequences of `lengths` (B,) tokens, padded on the right to T. In a causal network the token at place i
(the query) may look at the token at place j (the key) if j is not later than i, and is no padding. Write this as a
mask. For example, `may_look(torch.tensor([2]), 3)[0, 2]` is `[True, True, False]`.

def may_look(lengths, T):
    """True where query i of sequence b may look at key j: (B, T, T), of type bool, at [b, i, j]."""
    ### BEGIN SOLUTION
    place = torch.arange(T)
    causal = place[None, :] <= place[:, None]
    mine = causal & (place < lengths[:, None])[:, None, :]
    ### END SOLUTION
    return mine
''')
def may_look(mine: Any, random: np.random.RandomState) -> None:
    for B, T in ((3, 5), (5, 4), (4, 4), (1, 6)):
        lengths = torch.from_numpy(random.randint(1, T, B))
        lengths[random.randint(B)] = T
        true = attention_mask(T, lengths, lengths.device)[:, 0].numpy()
        got = array(mine(lengths, T), (B, T, T), "bool")
        i, j = np.ogrid[:T, :T]
        padding = (j >= lengths.numpy()[:, None, None]) & (i >= 0)
        told = f", with lengths {lengths.tolist()} and T = {T}"
        require(not (got & (j > i)).any(), f"a query looks at a key that comes later{told}")
        require(not (got & padding).any(), f"a query looks at padding{told}")
        require(not (true & (i == j) & ~got).any(), f"a token may look at itself{told}")
        require((got == true).all(), f"a query does not look at all keys that it may look at{told}")


@task('''
02.3 · A split that does not leak

In addition a + b = b + a. After a random split, half of the test equations have their mirror image in the train
split. Write a split of all pairs (a, b) modulo p in which (a, b) and (b, a) are always on the same side. About half
of all pairs are for training, drawn at random.

def train_pairs(p, seed):
    """True at [a, b] where the pair is for training: (p, p), of type bool; by the seed alone."""
    ### BEGIN SOLUTION
    drawn = np.random.RandomState(seed).rand(p, p) < 0.5
    lower = np.tril(drawn)  # one draw for each pair with a >= b, and the mirror image takes it over
    mine = lower | lower.T
    ### END SOLUTION
    return mine
''')
def train_pairs(mine: Any, random: np.random.RandomState) -> None:
    seen = []
    for p, seed in ((31, 1), (97, 2), (31, 3), (31, 4)):
        train = array(mine(p, seed), (p, p), "bool")
        share = train.mean()
        require((train == train.T).all(), "a pair and its mirror image are on different sides")
        require(0.35 < share < 0.65, f"{share:.0%} of all pairs are for training; must be about half")
        a, b = np.ogrid[:p, :p]
        sums = np.array([train[(a + b) % p == c].mean() for c in range(p)])
        for some, what in ((train.mean(0), "pairs with one a"), (sums, "pairs with one sum")):
            require(some.min() > 0 and some.max() < 1, f"{what} are all on one side: the draw is not random")
        halves = [train[(a + b) % 2 == rest].mean() for rest in (0, 1)] + [train[a < b].mean(), np.diag(train).mean()]
        alike = all(0.2 < half < 0.8 for half in halves)
        require(alike, "each pair must have the same chance, (a, a) too, whatever the others")
        require((array(mine(p, seed), (p, p), "bool") == train).all(), "the same seed gives another split")
        seen.append(train)
    if (seen[0] == seen[2]).all() or (seen[2] == seen[3]).all():
        raise Wrong("another seed gives the same split")
