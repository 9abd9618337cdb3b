"""The tasks of notebook 01: losses."""

import math
from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from lib.course.answers import close, near, normal, number, require
from lib.course.task import task
from lib.data import IGNORE


@task("""
01.1 · What is the loss? Predict, then check

A network gives the whole sentence, all 24 tokens of it, a probability of one half. What is its loss, in nats per
token? Three digits suffice, or a formula.

### BEGIN SOLUTION
mine = np.log(2) / 24  # the whole has the probability e^(-loss × tokens)
### END SOLUTION
""")
def loss_of_a_half(mine: Any, random: np.random.RandomState) -> None:
    known = {
        "that is the loss of the whole sentence; asked is the mean over its tokens": math.log(2),
        "a loss is minus a logarithm, and so never below 0": -math.log(2) / 24,
        "that is in bits; nats have the natural logarithm": 1 / 24,
        "nats have the natural logarithm, not that to base 10": math.log10(2) / 24,
    }
    near(mine, math.log(2) / 24, known, "with this loss, what is e^(-loss × 24)?", 0.01)


@task('''
01.2 · The loss on some tokens only

`logits` is (N, V), `targets` is (N,). A target of -100 does not count. The loss is the mean of -ln(probability of the
target) over the targets that count, in nats. The probabilities are the softmax of the logits. For example,
`masked_loss(torch.zeros(2, 5), torch.tensor([3, -100]))` is `np.log(5)`.

def masked_loss(logits, targets):
    """One number, as a float or a tensor without dimensions."""
    ### BEGIN SOLUTION
    counts = targets != -100
    log_p = logits.log_softmax(-1)[counts]
    mine = -log_p[torch.arange(len(log_p)), targets[counts]].mean()
    ### END SOLUTION
    return mine
''')
def masked_loss(mine: Any, random: np.random.RandomState) -> None:
    for n, V in ((6, 4), (9, 7), (5, 3)):
        logits = 2 * normal(random, n, V)
        targets = torch.from_numpy(random.randint(0, V, n))
        targets[torch.from_numpy(random.permutation(n)[: n // 3])] = IGNORE
        targets[0] = 0
        counts = targets != IGNORE
        each = -logits.log_softmax(-1)[counts, targets[counts]]
        raw, true = logits[counts, targets[counts]], each.mean().item()
        across = -logits.log_softmax(0)[counts, targets[counts]]
        known = {
            "that is the sum over the targets that count; asked is their mean": each.sum().item(),
            "divide by how many targets count, not by how many there are": each.sum().item() / n,
            "a loss is minus the logarithm: the sign is wrong": -true,
            "that is in bits; nats have the natural logarithm": true / math.log(2),
            "nats have the natural logarithm, not that to base 10": true / math.log(10),
            "a target of 0 counts; only -100 does not": each[targets[counts] > 0].mean().item(),
            "first the logarithms, then the mean": -(-each).exp().mean().log().item(),
            "the softmax goes over the V logits of each token": across.mean().item(),
            "the logits are not yet logarithms of probabilities": -raw.mean().item(),
        }
        near(mine(logits, targets), true, known, f"tried with {n} random targets, of which {int(counts.sum())} count")


@task('''
01.3 · The floor of a loss

A network sees one character and predicts the next. `pairs` holds (last, next) for each place of a text, such as
`("n", "e")`. What is the lowest mean loss, in nats per pair, that any such network can reach? For example,
`floor([("a", "b"), ("a", "c")])` is `np.log(2)`. To count things, import `Counter` from `collections`.

def floor(pairs):
    """One number; 0 where each character has only one next character."""
    ### BEGIN SOLUTION
    from collections import Counter
    both, last = Counter(pairs), Counter(a for a, _ in pairs)
    mine = -sum(n * np.log(n / last[a]) for (a, _), n in both.items()) / len(pairs)
    ### END SOLUTION
    return mine
''')
def floor(mine: Any, random: np.random.RandomState) -> None:
    def entropy(things: Any) -> float:
        counts = np.array(list(Counter(things).values()))
        return float(-(counts * np.log(counts / counts.sum())).sum() / counts.sum())

    only = number(mine([("a", "b"), ("b", "a"), ("a", "b")]))
    require(close(only, 0), "where each character has only one next character, a network can have a loss of 0")
    for letters in ("abc", "love", "abcdefg"):
        text = "".join(random.choice(list(letters), 60))
        pairs = list(pairwise(text))
        both, last, following = (entropy(some) for some in (pairs, [a for a, _ in pairs], [b for _, b in pairs]))
        true = both - last
        after = {a: [y for x, y in pairs if x == a] for a, _ in pairs}
        known = {
            "the last character is known: its own uncertainty does not count": both,
            "the last character tells something of the next one: use it": following,
            "that is in bits; nats have the natural logarithm": true / math.log(2),
            "nats have the natural logarithm, not that to base 10": true / math.log(10),
            "a character that comes often counts more than a rare one": np.mean([entropy(y) for y in after.values()]),
            "the next characters are not equally likely": np.mean([math.log(len(set(after[a]))) for a, _ in pairs]),
            "that is the sum over all pairs; asked is the mean": true * len(pairs),
            "a loss is minus the logarithm: the sign is wrong": -true,
        }
        near(mine(pairs), true, known, f"tried with a random text of {len(text)} characters")
