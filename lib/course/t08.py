"""The tasks of notebook 08: bits, samples, sizes."""

import math
from typing import Any

import numpy as np

from lib.config import ModelConfig
from lib.course.answers import array, close, near, normal, require
from lib.course.task import task
from lib.model import FeedForward


@task('''
08.1 · Bits per byte

A network has a mean loss of `loss` nats per token on a text that is cut into `n_tokens` tokens. What is its loss in
bits per byte of the text in UTF-8? (Only so can networks with different tokens be compared. 1 bit is ln 2 nats; é has
two bytes.) For example, `bits_per_byte(np.log(2), "aé", 6)` is `2`.

def bits_per_byte(loss, text, n_tokens):
    """One number."""
    ### BEGIN SOLUTION
    bits = loss * n_tokens / np.log(2)  # of the whole text
    mine = bits / len(text.encode())
    ### END SOLUTION
    return mine
''')
def bits_per_byte(mine: Any, random: np.random.RandomState) -> None:
    for letters in ("abc ", "aé ", "naïve – été"):
        text = "".join(random.choice(list(letters), 40)) + letters
        loss, n, size = random.uniform(1, 5), int(random.randint(10, 30)), len(text.encode())
        true = loss * n / math.log(2) / size
        known = {
            "that is in nats; 1 bit is ln 2 nats": true * math.log(2),
            "how many bits is 1 nat? More than one": true * math.log(2) ** 2,
            "that is per character; é has two bytes": true * size / len(text),
            "that is per token; asked is per byte": loss / math.log(2),
            "that is of the whole text; asked is per byte": true * size,
        }
        near(mine(loss, text, n), true, known, f"tried with loss {loss:.2f}, {n} tokens and text {text!r}")


@task('''
08.2 · Temperature and top k

Before a token is drawn, all logits but the `k` largest are left out, and the others are divided by the temperature.
The probabilities are the softmax of what is left. For example, `probabilities(torch.tensor([0.0, -1.0, 0.0]), 1.0,
2)` is `[0.5, 0, 0.5]`.

def probabilities(logits, temperature, k):
    """The probability of each token, 0 for those left out: logits (V,) to (V,)."""
    ### BEGIN SOLUTION
    least = logits.topk(k).values[-1]
    left = logits.masked_fill(logits < least, -torch.inf)
    mine = (left / temperature).softmax(-1)
    ### END SOLUTION
    return mine
''')
def probabilities(mine: Any, random: np.random.RandomState) -> None:
    for V, k, temperature in ((6, 3, 1.0), (8, 8, 2.0), (9, 4, 0.5), (7, 1, 0.7)):
        logits = 2 * normal(random, V)
        got = array(mine(logits, temperature, k), (V,))
        kept, told = logits.argsort(descending=True)[:k].numpy(), f" (k = {k}, temperature {temperature})"
        true = np.zeros(V)
        true[kept] = (logits[kept] / temperature).softmax(-1).numpy()
        require((got >= 0).all(), f"a probability is below 0{told}")
        require((got > 1e-12).sum() == k, f"{(got > 1e-12).sum()} tokens have a probability above 0{told}")
        require((got[kept] > 0).all(), f"one of the {k} largest logits has no probability{told}")
        require(abs(got.sum() - 1) < 1e-5, f"the probabilities add up to {got.sum():.3f}{told}")
        require(got.argmax() == kept[0], f"the largest logit has not the largest probability{told}")
        plain = logits[kept].softmax(-1).max().item()
        wrong_way = (got.max() - plain) * (true.max() - plain) < 0
        require(close(got, true), f"the temperature {'acts the wrong way' if wrong_way else 'is not right'}{told}")


@task("""
08.3 · A feed-forward layer with a gate. Predict, then check

The network's feed-forward layer is SwiGLU without biases: down(silu(gate(x)) · up(x)). How many parameters does it
have at a width of 128 and d_ff = 512?

### BEGIN SOLUTION
mine = 3 * 128 * 512  # gate and up lead from 128 to 512, down leads back
### END SOLUTION
""")
def swiglu(mine: Any, random: np.random.RandomState) -> None:
    layer = FeedForward(ModelConfig(d_model=128, d_ff=512, activation="swiglu", bias=False))
    one = 128 * 512
    known = {
        "that is one matrix; how many are there?": one,
        "that is a layer without a gate": 2 * one,
        "there are no biases": 3 * one + 2 * 512 + 128,
    }
    true = sum(weights.numel() for weights in layer.parameters())
    near(mine, true, known, "count the matrices, and the numbers in each", 1e-5)
