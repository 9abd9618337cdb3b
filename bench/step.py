"""How long a training step takes, plain against fast, both timed in turns in one process with one thread."""

import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from lib import experiments, fast
from lib.data import IGNORE, Batch
from lib.model import Transformer
from lib.optim import Optimizer
from lib.train import batch_rows, load_data

ROUNDS = 30


def plain(model: Transformer, batch: Batch) -> Tensor:
    """As nanoGPT does it: logits at all positions, and a loss that ignores all but the last."""
    return F.cross_entropy(model(batch.tokens).flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORE)


def last(model: Transformer, batch: Batch) -> Tensor:
    return F.cross_entropy(model(batch.tokens, last=True), batch.targets[:, -1])


def shared(model: Transformer, batch: Batch) -> Tensor:
    return F.cross_entropy(fast.answer_logits(model, batch.tokens), batch.targets[:, -1])


WAYS: dict[str, Callable[[Transformer, Batch], Tensor]] = {
    "all positions (the plain loop)": plain,
    "the last block at the answer only": last,
    "each distinct prefix once, too": shared,
}


def main() -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    config = experiments.DIVISION
    data = load_data(config)
    train = data.splits["train"]
    steppers = {}
    for name, loss_of in WAYS.items():
        torch.manual_seed(0)
        model = Transformer(config.model, data.tokenizer.vocab_size)
        steppers[name] = (model, Optimizer(model, config.optim, ROUNDS), loss_of)
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    for step in range(ROUNDS):
        batch = train[batch_rows(train.size, config.train.batch_size, step, seed=0)]
        for name, (model, optimizer, loss_of) in steppers.items():
            begun = time.perf_counter()
            loss = loss_of(model, batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step(step)
            seconds[name].append(time.perf_counter() - begun)
    medians = {name: statistics.median(times[5:]) for name, times in seconds.items()}
    slowest = max(medians.values())
    print(f"a step of division mod 97, batch {config.train.batch_size}, one thread, median of {ROUNDS - 5}:")
    for name, median in medians.items():
        print(f"  {name:36} {median * 1e3:6.1f} ms   1/{slowest / median:.2f} of the plain one")


if __name__ == "__main__":
    main()
