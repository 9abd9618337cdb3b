"""The rows of bench/gpu.py: what is trained and measured in each, within its time."""

import math
import statistics
import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import torch

from bench import speed
from bench.record import Record
from bench.timed import Timed, memory, run_until
from lib.analysis.memory import budget
from lib.config import RunConfig
from lib.experiments.ablation import RECIPE, recipe
from lib.experiments.arithmetic import grokking_slow
from lib.experiments.language import TINYSTORIES_ASSIGNED as STORIES
from lib.experiments.language import TWELVE, gpt2_large, gpt2_medium, lstm_vs_gpt_paper, stories, tinystories_paper
from lib.experiments.presets import Changes, seeds
from lib.runs.run import find

VOCAB = 50_257  # GPT-2's
N_STEPS = 100, 20  # of GPT-2 as assigned; of each variant
SAVING = 4.0  # seconds at most to save a state
TOY_TEXT = "Once upon a time a cat sat on a mat, and the dog ran on. " * 40
TOYS = {"data.train_tokens": 0, "data.eval_tokens": 64, "data.tokenizer": "character", "data.window": 32}
TOYS |= {"model.context_length": 32, "model.d_model": 60, "model.d_hidden": 16, "train.prompt": "Once"}


@dataclass
class Bench:
    """Where the rows write, on which device, in which size."""

    record: Record
    folder: Path
    device: str
    is_toy: bool

    def sized(self, config: RunConfig) -> RunConfig:
        """The config, or one of its shape that takes a moment."""
        if not self.is_toy:
            return config
        few: Changes = {"train.max_steps": 2, "train.eval_every": 2, "optim.warmup_steps": 1}
        if config.data.task != "corpus":
            return config.override(few | {"data.p": 11, "model.d_model": 16, "model.d_ff": 32})
        text = self.folder / "toy.txt"
        text.write_text(TOY_TEXT)
        model = config.model
        layers = model.n_layers if model.n_layers <= 6 else model.n_layers // 12
        sizes = {"model.n_heads": max(1, model.n_heads // 4), "model.d_ff": model.d_ff // 32, "model.n_layers": layers}
        return config.override(few | TOYS | sizes | {"data.corpus": str(text)})

    def train(
        self, row: str, experiment: str, runs: dict[str, RunConfig], until: float, share: bool = False
    ) -> dict[str, Timed]:
        """Train what is not finished, one after the other; with `share` each gets its part of the time.

        Otherwise none is begun that would take longer, if it took as long as the longest before, than what is left.
        """
        trained, longest = {}, SAVING
        configs = {name: self.sized(config) for name, config in runs.items()}
        missing = {name: config for name, config in configs.items() if find(experiment, config, self.folder) is None}
        for i, (name, config) in enumerate(missing.items()):
            begun = time.monotonic()
            left = until - begun
            if left < longest and not share:
                self.record.say(f"row {row}: {len(missing) - i} of {len(runs)} runs wait for another call")
                break
            end = begun + left / (len(missing) - i) if share else until
            folder = self.folder / experiment / config.id
            trained[name] = trainer = run_until(end - SAVING, config, folder, self.device)
            self.tell(row, name, trainer)
            if not trainer.is_over:
                longest = max(longest, time.monotonic() - begun)
        return trained

    def tell(self, row: str, name: str, trainer: Timed) -> None:
        """Write down what a run came to."""
        last, step = trainer.last_row, trainer.loop.step
        values: dict[str, tuple[float | None, str]] = {"steps": (step, "steps")}
        if trainer.config.data.task == "corpus":
            values["speed"] = trainer.tokens_per_s, "tokens/s"
            values |= {f"{split} perplexity": (last[f"{split}_ppl"], "") for split in trainer.data.splits}
        else:
            values["speed"] = trainer.steps_per_s, "steps/s"
        values |= {f"{split} loss": (last[f"{split}_loss"], "nats") for split in trainer.data.splits}
        if trainer.is_over:
            values = {k: v for k, v in values.items() if k in ("steps", "speed")}
            values[f"val loss after {step} steps"] = trainer.loss_at_stop, "nats"
        values |= {what: (size, "MB") for what, size in memory(self.device).items()}
        for what, (value, unit) in values.items():
            self.record.add(row, f"{name}: {what}", value, unit)


def twelve(bench: Bench, until: float) -> None:
    """LSTM against GPT in the assignment's sizes."""
    kinds = {number: f"{number} {kind}, {layers} layers, {name}" for number, (kind, layers, name) in TWELVE.items()}
    bench.train("1", "lstm_vs_gpt_paper", dict(zip(kinds.values(), lstm_vs_gpt_paper(), strict=True)), until)


def variants(config: RunConfig) -> dict[str, Changes]:
    """What is compared with the assigned run."""
    batch = config.train.batch_size
    return {
        "as assigned": {},
        "4 x the batch": {"train.batch_size": 4 * batch},
        "4 x the batch, in 4 parts": {"train.batch_size": 4 * batch, "train.accumulation": 4},
        "activation checkpointing": {"train.activation_checkpointing": True},
        "whole logits": {"train.whole_logits": True},
        "AdamW not fused": {},
        "float32": {"train.precision": "float32"},
    }


SIZES = {"GPT-2 medium": ("gpt2_medium", gpt2_medium), "GPT-2 large": ("gpt2_large", gpt2_large)}


def gpt2(bench: Bench, until: float) -> None:
    """Speed and memory of GPT-2 medium and large; then their curves, as far as the time goes."""
    for size, (_, configs) in SIZES.items():
        [config] = map(bench.sized, configs())
        todo = [v for v in variants(config) if not bench.record.has("3", f"{size}, {v}: tokens/s")]
        if not todo:
            continue
        network = speed.build(config, 300 if bench.is_toy else VOCAB, bench.device)
        for name in todo:
            if time.monotonic() > until - SAVING:
                bench.record.say(f"row 3: {size}, {name} and what follows waits for another call")
                return
            measure(bench, f"{size}, {name}", config.override(variants(config)[name]), network)
        del network
    for i, (size, (experiment, configs)) in enumerate(SIZES.items()):
        now = time.monotonic()
        runs = {f"{size}, curve": configs()[0]}
        bench.train("3", experiment, runs, now + (until - now) / (len(SIZES) - i))


def measure(bench: Bench, what: str, config: RunConfig, network: speed.Network) -> None:
    """Speed, share of the card's peak, and memory of one variant. What does not fit into memory is written down."""
    make = {"make": speed.not_fused} if what.endswith("not fused") else {}
    n_steps = 2 if bench.is_toy else N_STEPS[0] if what.endswith("as assigned") else N_STEPS[1]
    try:
        values = speed.measure(config, network, bench.device, n_steps, **make)
    except torch.OutOfMemoryError:
        network.zero_grad()
        bench.record.add("3", f"{what}: tokens/s", None, "out of memory")
        return
    for name, value in values.items():
        bench.record.add("3", f"{what}: {name}", value, "tokens/s" if name == "tokens/s" else "MB")
    peak = speed.peak_of(bench.record.device)
    share = values["tokens/s"] * speed.work_per_token(config, network) / peak if peak else None
    unit = f"of {peak / 1e12:.0f} TFLOP/s, dense bfloat16" if peak else "peak of the card unknown"
    bench.record.add("3", f"{what}: share of the card's peak", share, unit)


def account(bench: Bench, until: float) -> None:
    """Our account of each variant's memory, beside what was measured. It needs no GPU."""
    for size, (_, configs) in SIZES.items():
        [config] = map(bench.sized, configs())
        for name, changes in variants(config).items():
            what = f"{size}, {name}"
            if bench.record.has("account", f"{what}: peak"):
                continue
            if time.monotonic() > until - SAVING:
                bench.record.say(f"account: {what} and what follows waits for another call")
                return
            peak = budget(config.override(changes), 300 if bench.is_toy else VOCAB)["peak"] / 1e6
            bench.record.add("account", f"{what}: peak", peak, "MB")
            for device, measured in bench.record.values("3", f"{what}: peak allocated").items():
                bench.record.add("account", f"{what}: peak, to that of {device}", peak / measured, "ratio")


def tinystories(bench: Bench, until: float) -> None:
    """The five runs of TinyStories at the log's size, each as far as its part of the time goes."""
    runs = dict(zip(stories(STORIES), tinystories_paper(), strict=True))
    bench.train("5", "tinystories_paper", runs, until, share=True)


def against_cpu(bench: Bench, until: float) -> None:
    """T_grok of the recipe's seeds, beside those of the stored runs, which a CPU made."""
    runs = {f"seed {config.seed}": config for config in recipe()[: 2 if bench.is_toy else None]}
    bench.train("6", "recipe", {name: run.override({"train.go_on": 1.0}) for name, run in runs.items()}, until)
    pairs = []
    for name, run in runs.items():
        here = find("recipe", bench.sized(run.override({"train.go_on": 1.0})), bench.folder)
        there = find("recipe", run)
        if here is None or there is None:
            continue
        pairs.append((here.t_grok or math.inf, there.t_grok or math.inf))
        if not bench.record.has("6", f"{name}: T_grok"):
            bench.record.add("6", f"{name}: T_grok", here.t_grok, "steps")
            bench.record.add("6", f"{name}: T_grok of the stored run", there.t_grok, "steps")
    if len(pairs) == len(runs) and not bench.record.has("6", "seeds with the same T_grok"):
        bench.record.add("6", "seeds with the same T_grok", sum(a == b for a, b in pairs), f"of {len(runs)}")
        for whose, times in zip(("", " of the stored runs"), zip(*pairs, strict=True), strict=True):
            bench.record.add("6", f"median T_grok{whose}", statistics.median(times), "steps")


def many_seeds(bench: Bench, until: float) -> None:
    """1,024 seeds of the recipe for 200 steps at once, against one at a time on the same card."""
    if bench.record.has("2", "ratio"):
        return
    short = bench.sized(RECIPE.override({"train.max_steps": 200, "train.eval_every": 200, "train.stop_at": 0.0}))
    n = 4 if bench.is_toy else 1024
    times = []
    for i in range(2):  # the first one warms up
        begun = time.monotonic()
        run_until(until, short.override({"seed": 5000 + i}), bench.folder / "stack_alone" / str(i), bench.device)
        times.append(time.monotonic() - begun)
    begun = time.monotonic()
    stacked(bench, "stack", seeds(short, {}, n, first=10_000), until)
    together = time.monotonic() - begun
    bench.record.add("2", f"{n} seeds together", together, "s")
    bench.record.add("2", "one alone", times[-1], "s")
    bench.record.add("2", "ratio", n * times[-1] / together, "x")


def figure_1(bench: Bench, until: float) -> None:
    """The paper's network with Adam and no decay, as in its Figure 1: a million steps, 16 seeds, over several calls."""
    config = grokking_slow()[0].override({"train.max_steps": 1_000_000})
    runs = seeds(bench.sized(config), {}, 2 if bench.is_toy else 16)
    if any(find("figure_1", run, bench.folder) is None for run in runs):
        stacked(bench, "figure_1", runs, until)


def stacked(bench: Bench, experiment: str, configs: list[RunConfig], until: float) -> None:
    """Train runs together, each into its folder, until they are finished or the time is over."""
    folders = {bench.folder / experiment / config.id: config for config in configs}
    import_module("lib.training.stack").train(folders, bench.device, stopped=lambda: time.monotonic() > until - SAVING)


STACKED = ("2", "4")  # wait for lib/training/stack.py
OF_CORPORA = ("1", "5")  # need packages that encode text
ROWS = {"1": twelve, "2": many_seeds, "3": gpt2, "4": figure_1, "5": tinystories, "6": against_cpu, "account": account}
WEIGHTS = {"1": 8.0, "2": 1.0, "3": 3.0, "4": 1.5, "5": 2.0, "6": 1.0, "account": 1.0}  # shares of the time
