"""The rows of bench/gpu.py: what is trained and measured in each, until a moment of time.monotonic."""

import math
import signal
import statistics
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from bench.timed import Record, Timed, memory, run_until, steps
from lib.analysis.memory import budget
from lib.config import RunConfig
from lib.experiments.ablation import RECIPE, recipe
from lib.experiments.arithmetic import grokking_slow
from lib.experiments.language import TINYSTORIES_ASSIGNED as STORIES
from lib.experiments.language import gpt2_large, gpt2_medium, lstm_vs_gpt_paper, stories, tinystories_paper
from lib.experiments.presets import Changes, seeds
from lib.language import networks
from lib.runs.run import find
from lib.training.stack import train_stack
from lib.training.trainer import Interrupted

VOCAB, N_STEPS, N_VARIANT = 50_257, 100, 20  # GPT-2's; steps of the assigned run, and of a variant
SAVING = 4.0  # seconds that a state may take
PEAKS = {"H100 80GB HBM3": 989e12, "H200": 989e12}  # FLOP/s, dense bfloat16 (NVIDIA's data sheets)
GPT2 = {"GPT-2 medium": ("gpt2_medium", gpt2_medium), "GPT-2 large": ("gpt2_large", gpt2_large)}
VARIANTS: dict[str, Changes] = {
    "as assigned": {},
    "accumulation": {"train.accumulation": 2},
    "activation checkpointing": {"train.activation_checkpointing": True},
    "whole logits": {"train.whole_logits": True},
    "16 rows": {"train.batch_size": 16},
    "AdamW not fused": {},
    "float32": {"train.precision": "float32"},
}


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
        text, model = self.folder / "toy.txt", config.model
        text.write_text("Once upon a time a cat sat on a mat, and the dog ran on. " * 40)
        few |= {"data.corpus": str(text), "data.tokenizer": "character", "data.train_tokens": 0, "data.window": 32}
        few |= {"data.eval_tokens": 64, "train.prompt": "Once", "model.context_length": 32, "model.d_model": 60}
        layers = model.n_layers if model.n_layers <= 6 else model.n_layers // 12
        few |= {"model.n_heads": max(1, model.n_heads // 4), "model.n_layers": layers, "model.d_hidden": 16}
        return config.override(few | {"model.d_ff": model.d_ff // 32})

    def train(self, row: str, experiment: str, runs: dict[str, RunConfig], until: float, share: bool = False) -> None:
        """Train what is not finished, one after the other; with `share` each gets its part of the time.

        Otherwise none is begun if less time is left than the longest took that came to its end.
        """
        sized = {name: self.sized(config) for name, config in runs.items()}
        missing = {name: config for name, config in sized.items() if find(experiment, config, self.folder) is None}
        longest = SAVING
        for i, (name, config) in enumerate(missing.items()):
            begun, waiting = time.monotonic(), len(missing) - i
            if until - begun < longest:
                return self.record.say(f"row {row}: {waiting} of {len(runs)} runs wait for another call")
            end = begun + (until - begun) / waiting if share else until
            trainer = run_until(end - SAVING, config, self.folder / experiment / config.id, self.device)
            self.tell(row, name, trainer)
            if not (share or trainer.is_over):
                longest = max(longest, time.monotonic() - begun)
            del trainer  # its memory is not the next one's

    def tell(self, row: str, name: str, trainer: Timed) -> None:
        """Write down what a run came to, whether it ended or was stopped."""
        last, step, seconds = trainer.tracker.rows[-1], trainer.loop.step, trainer.tracker.clock.seconds
        values: dict[str, tuple[float | None, str]] = {"steps/s": (step / seconds, "steps/s")}
        if trainer.config.data.task == "corpus":
            values["tokens/s"] = trainer.tokens_seen() / seconds, "tokens/s"
        if trainer.is_over:
            values[f"val loss at step {step}"] = trainer.loss_at_stop, "nats"
        else:
            values |= {f"{split} loss": (last[f"{split}_loss"], "nats") for split in trainer.data.splits}
        if trainer.loop.step < trainer.loop.last_step and not trainer.is_over:
            values["diverged at step"] = step, "steps"
        values |= {what: (size, "MB") for what, size in memory(self.device).items()}
        for what, (value, unit) in values.items():
            self.record.add(row, f"{name}: {what}", value, unit)


def twelve(bench: Bench, until: float) -> None:
    """LSTM against GPT in the assignment's sizes."""
    bench.train("1", "lstm_vs_gpt_paper", {str(n): run for n, run in enumerate(lstm_vs_gpt_paper(), 1)}, until)


def gpt2(bench: Bench, until: float) -> None:
    """Speed and memory of GPT-2 medium and large, each in all variants; then their curves, as far as the time goes."""
    for size, (_, configs) in GPT2.items():
        [config] = map(bench.sized, configs())
        missing = [name for name in VARIANTS if not bench.record.has("3", f"{size}; {name}: tokens/s")]
        if missing and time.monotonic() < until - SAVING:
            torch.manual_seed(0)
            with torch.device(bench.device):
                network = networks.make(config.model, vocab(bench))
            for name in missing:
                if time.monotonic() > until - SAVING:
                    return bench.record.say(f"row 3: {size}, {name} and what follows wait for another call")
                variant(bench, size, name, config.override(VARIANTS[name]), network)
            del network
    for (size, (experiment, configs)), rest in zip(GPT2.items(), (2, 1), strict=True):
        now = time.monotonic()
        bench.train("3", experiment, {f"{size}; curve": configs()[0]}, now + (until - now) / rest)


def vocab(bench: Bench) -> int:
    return 300 if bench.is_toy else VOCAB


def variant(bench: Bench, size: str, name: str, config: RunConfig, network: networks.Network) -> None:
    """Speed, share of the card's peak, and memory. What does not fit into memory is written down as that."""
    n, make = (N_STEPS if name == "as assigned" else N_VARIANT), {}
    if name == "AdamW not fused":
        make = {"make": lambda o, groups: torch.optim.AdamW(groups, o.lr, (o.beta1, o.beta2), foreach=True)}
    try:
        values = steps(config, network, bench.device, 2 if bench.is_toy else n, **make)
    except torch.OutOfMemoryError:
        network.zero_grad()
        return bench.record.add("3", f"{size}; {name}: tokens/s", None, "out of memory")
    for what, value in values.items():
        bench.record.add("3", f"{size}; {name}: {what}", value, "tokens/s" if what == "tokens/s" else "MB")
    # as PaLM counts (Chowdhery et al. 2022, appendix B): masked positions too, and nothing that is computed again
    weights = sum(p.numel() for p in network.blocks.parameters()) + network.output_weight.numel()
    flop = 6 * weights + 12 * config.model.n_layers * config.model.d_model * config.data.window  # a token
    peak = next((peak for card, peak in PEAKS.items() if card in bench.record.device), None)
    unit = f"of {peak / 1e12:.0f} TFLOP/s" if peak else "peak unknown"
    bench.record.add("3", f"{size}; {name}: share of peak", values["tokens/s"] * flop / peak if peak else None, unit)


def account(bench: Bench, until: float) -> None:
    """Our account of each variant's peak memory, which needs no GPU, and its ratio to what was measured on any."""
    for size, (_, configs) in GPT2.items():
        for name, changes in VARIANTS.items():
            what = f"{size}; {name}: peak"
            if bench.record.has("account", what):
                continue
            if time.monotonic() > until - SAVING:
                return bench.record.say(f"account: {what} and what follows wait for another call")
            peak = budget(bench.sized(configs()[0]).override(changes), vocab(bench))["peak"] / 1e6
            bench.record.add("account", what, peak, "MB")
            for line in bench.record.lines:
                if line["what"] == f"{what} allocated" and line["value"]:
                    told = f"{what}; account / allocated on {line['device']}"
                    bench.record.add("account", told, peak / float(line["value"]), "ratio")


def tinystories(bench: Bench, until: float) -> None:
    """The five runs of TinyStories at the log's size, each as far as its part of the time goes."""
    runs = dict(zip(stories(STORIES), tinystories_paper(), strict=True))
    bench.train("5", "tinystories_paper", runs, until, share=True)


def against_cpu(bench: Bench, until: float) -> None:
    """T_grok of the recipe's seeds, beside those of the stored runs, which a CPU made."""
    stored = {f"seed {run.seed}": run for run in recipe()[: 2 if bench.is_toy else None]}
    runs = {name: run.override({"train.go_on": 1.0}) for name, run in stored.items()}  # as soon as it has grokked
    bench.train("6", "recipe", runs, until)
    pairs = []
    for name, run in runs.items():
        here, there = find("recipe", bench.sized(run), bench.folder), find("recipe", stored[name])
        if here is None or there is None:
            return
        pairs.append((here.t_grok or math.inf, there.t_grok or math.inf))
        if not bench.record.has("6", f"{name}: T_grok"):
            bench.record.add("6", f"{name}: T_grok", here.t_grok, "steps")
            bench.record.add("6", f"{name}: T_grok on a CPU", there.t_grok, "steps")
    if not bench.record.has("6", "median T_grok"):
        bench.record.add("6", "seeds with the same T_grok", sum(a == b for a, b in pairs), f"of {len(runs)}")
        for where, times in zip((" on a CPU", ""), ([b for _, b in pairs], [a for a, _ in pairs]), strict=True):
            bench.record.add("6", f"median T_grok{where}", statistics.median(times), "steps")


def many_seeds(bench: Bench, until: float) -> None:
    """1,024 seeds of the recipe for 200 steps at once, against one at a time on the same card."""
    if bench.record.has("2", "ratio"):
        return
    short = bench.sized(RECIPE.override({"train.max_steps": 200, "train.eval_every": 200, "train.stop_at": 0.0}))
    n = 4 if bench.is_toy else 1024
    for seed in range(2):  # the first one warms up
        lone = run_until(until, short.override({"seed": seed}), bench.folder / "alone" / str(seed), bench.device)
    together, many = 0.0, seeds(short, {}, n, first=10_000)
    if not stacked(bench, "stack", many, until):
        return
    for config in many:  # a member's seconds are its stack's, over all calls
        together = max(together, find("stack", config, bench.folder).summary["seconds"])
    alone = lone.tracker.clock.seconds
    for what, value, unit in (("together", together, "s"), ("alone", alone, "s"), ("ratio", n * alone / together, "x")):
        bench.record.add("2", what, value, unit)


def figure_1(bench: Bench, until: float) -> None:
    """The paper's network with Adam and no decay, a million steps, 16 seeds, over several calls."""
    config = bench.sized(grokking_slow()[0].override({"train.max_steps": 1_000_000}))
    configs = seeds(config, {}, 2 if bench.is_toy else 16)
    if not stacked(bench, "figure_1", configs, until) or bench.record.has("4", "seeds that grokked"):
        return
    runs = [find("figure_1", config, bench.folder) for config in configs]
    for what, name in (("seeds that fit", "t_fit"), ("seeds that grokked", "t_grok")):
        bench.record.add("4", what, sum(getattr(run, name) is not None for run in runs), f"of {len(runs)}")
    accuracy = statistics.median(run.summary["test_acc"] for run in runs)
    bench.record.add("4", f"median test accuracy at step {config.train.max_steps}", accuracy, "")


def stacked(bench: Bench, experiment: str, configs: list[RunConfig], until: float) -> bool:
    """Train runs together, each into its folder; whether they came to their end before the time was over."""
    runs = {bench.folder / experiment / c.id: c for c in configs if find(experiment, c, bench.folder) is None}
    if runs:
        stop = threading.Timer(until - SAVING - time.monotonic(), signal.raise_signal, [signal.SIGTERM])
        stop.start()
        try:
            train_stack(runs, bench.device)
        except Interrupted:
            return False
        finally:
            stop.cancel()
    return True


# each row, and its share of the time
ROWS = {"1": (twelve, 8), "2": (many_seeds, 1), "3": (gpt2, 3), "4": (figure_1, 2), "5": (tinystories, 2)}
ROWS |= {"6": (against_cpu, 1), "account": (account, 1)}
