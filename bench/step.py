"""How long a training step takes, plain against fast, all timed in turns in one process with one thread.

Then where the time of a fast step goes, by part and by kind of operation.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from lib.data import IGNORE, Batch, batch_rows
from lib.experiments import presets
from lib.model import Transformer
from lib.optim import Optimizer
from lib.support.machine import keep_freed_memory
from lib.training.datasets import load_data
from lib.training.prefixes import SharedPrefixes

ROUNDS, WARM_UP = 30, 5
CONFIG = presets.DIVISION
KINDS = {
    "matrix products": ("mm", "addmm", "bmm"),
    "GELU": ("gelu", "gelu_backward"),
    "norms and softmax": ("native_layer_norm", "native_layer_norm_backward", "_softmax", "_log_softmax"),
    "rows gathered and scattered": ("index_select", "embedding_dense_backward", "index_add_", "scatter_add_"),
    "sums and products": ("mul", "sum", "add", "add_", "addcmul_", "mul_"),
    "copies": ("copy_", "cat", "fill_", "zero_"),
    "AdamW": ("_fused_adamw_",),
}


DATA = load_data(CONFIG)
SHARED = SharedPrefixes(DATA)


def plain(model: Transformer, batch: Batch) -> Tensor:
    """As nanoGPT does it: logits at all positions, and a loss that ignores all but the last."""
    return F.cross_entropy(model(batch.tokens).flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORE)


def last(model: Transformer, batch: Batch) -> Tensor:
    return F.cross_entropy(model(batch.tokens, last=True), batch.targets[:, -1])


def shared(model: Transformer, batch: Batch) -> Tensor:
    return F.cross_entropy(*SHARED(model, batch, "last"))


def rounded(model: Transformer, batch: Batch) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return shared(model, batch)


WAYS: dict[str, Callable[[Transformer, Batch], Tensor]] = {
    "all positions (the plain loop)": plain,
    "the last block at the answer only": last,
    "each shared beginning once, too": shared,
    "… with products in bfloat16": rounded,
}


class Stepper:
    """A model in training that keeps the seconds of each part of each step."""

    def __init__(self, loss_of: Callable[[Transformer, Batch], Tensor]) -> None:
        self.loss_of = loss_of
        torch.manual_seed(0)
        self.model = Transformer(CONFIG.model, DATA.tokenizer.vocab_size)
        self.optimizer = Optimizer(self.model, CONFIG.override({"train.max_steps": ROUNDS}))
        self.seconds: dict[str, list[float]] = {}

    def step(self, step: int) -> None:
        train = DATA.splits["train"]
        batch = self.timed("batch", lambda: train[batch_rows(train.size, CONFIG.train.batch_size, step, seed=0)])
        loss = self.timed("forward", lambda: self.loss_of(self.model, batch))
        self.optimizer.zero_grad()
        self.timed("backward", loss.backward)
        self.timed("optimiser", lambda: self.optimizer.step(step))

    def timed(self, name: str, call: Callable[[], Any]) -> Any:
        begun = time.perf_counter()
        result = call()
        self.seconds.setdefault(name, []).append(time.perf_counter() - begun)
        return result

    def medians(self) -> dict[str, float]:
        return {name: statistics.median(times[WARM_UP:]) for name, times in self.seconds.items()}


def compare(steppers: dict[str, Stepper]) -> None:
    for step in range(ROUNDS):
        for stepper in steppers.values():
            stepper.step(step)
    totals = {name: sum(stepper.medians().values()) for name, stepper in steppers.items()}
    plain_one = next(iter(totals.values()))
    print(f"a step of division mod 97, batch {CONFIG.train.batch_size}, one thread, median of {ROUNDS - WARM_UP}:")
    for name, total in totals.items():
        print(f"  {name:36} {total * 1e3:6.1f} ms   1/{plain_one / total:.2f} of the plain one")


def parts(stepper: Stepper) -> None:
    medians = stepper.medians()
    total = sum(medians.values())
    print("where the time of a step goes (float32):")
    for name, seconds in medians.items():
        print(f"  {name:36} {seconds * 1e3:6.1f} ms   {seconds / total:4.0%}")


def kinds(stepper: Stepper) -> None:
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        for step in range(ROUNDS):
            stepper.step(step)
    spent = {event.key.removeprefix("aten::"): event.self_cpu_time_total for event in profiled.key_averages()}
    total = sum(spent.values())
    print("by kind of operation:")
    for kind, names in KINDS.items():
        print(f"  {kind:36} {sum(spent.get(name, 0) for name in names) / total:4.0%}")
    rest = 1 - sum(spent.get(name, 0) for names in KINDS.values() for name in names) / total
    print(f"  {'the rest: small operations, Python':36} {rest:4.0%}")


def main() -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    keep_freed_memory()
    steppers = {name: Stepper(loss_of) for name, loss_of in WAYS.items()}
    compare(steppers)
    fast_one = next(stepper for stepper in steppers.values() if stepper.loss_of is shared)
    parts(fast_one)
    kinds(fast_one)


if __name__ == "__main__":
    main()
