"""How fast the language models are, beside nanoGPT's network and Hugging Face's byte-pair learner, in three minutes.

Both sides in turns with one thread each; a ratio is their median seconds over ours.
"""

import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from bench.nanogpt import PlainGPT
from lib.config import DataConfig, ModelConfig, OptimConfig, RunConfig, TrainConfig
from lib.data import Batch
from lib.experiments.language import gpt2_small
from lib.language import bpe, corpora
from lib.language.chunks import CorpusObjective
from lib.model import Transformer
from lib.optim import Optimizer
from lib.runs.run import stored
from lib.sampling import encode_prompt, generate
from lib.support.files import ROOT
from lib.support.machine import keep_freed_memory

ROWS, WINDOW, TOKENS, VOCAB = 16, 128, 200, 32_000
CONFIG = RunConfig(
    data=DataConfig(task="corpus", tokenizer="gpt2", window=WINDOW),
    model=ModelConfig(n_heads=4, d_model=256, d_ff=1024, context_length=WINDOW),
    optim=OptimConfig(weight_decay=0.1, beta2=0.95, clip=1.0),
    train=TrainConfig(batch_size=ROWS),
)


def seconds(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def in_turns(theirs: Callable[[], object], ours: Callable[[], object], rounds: int) -> float:
    """Their median seconds over ours, after a round to warm up."""
    times = [(seconds(theirs), seconds(ours)) for _ in range(rounds + 1)][1:]
    plain, own = (statistics.median(of) for of in zip(*times, strict=True))
    return plain / own


def training(vocab_size: int, n_layers: int, precision: str, rounds: int) -> float:
    """Steps on the same batch, both with the same AdamW; nanoGPT's network under autocast where ours is."""
    config = CONFIG.override({"model.n_layers": n_layers, "train.precision": precision})
    torch.manual_seed(0)
    model = Transformer(config.model, vocab_size)
    plain, objective = PlainGPT(model), CorpusObjective(model, "all", config.train)
    ids = torch.randint(vocab_size, (ROWS, WINDOW + 1))
    batch = Batch(ids[:, :-1].contiguous(), ids[:, 1:].contiguous(), None)

    def plain_loss() -> torch.Tensor:
        with objective.precision(ids.device):
            return plain.loss(batch.tokens, batch.targets)

    def step(optimizer: Optimizer, loss: Callable[[], torch.Tensor]) -> None:
        optimizer.zero_grad()
        optimizer.backward(loss())
        optimizer.step(0)

    theirs, ours = Optimizer(plain, config), Optimizer(model, config)
    torch.testing.assert_close(plain_loss(), objective(batch), rtol=1e-3, atol=0)
    return in_turns(lambda: step(theirs, plain_loss), lambda: step(ours, lambda: objective(batch)), rounds)


def sampling(n_texts: int, rounds: int) -> float:
    """200 tokens after a prompt, past the context of 128."""
    model, tokenizer, config = stored("gpt2_small", gpt2_small()[0]).load()
    plain, prompt = PlainGPT(model).eval(), encode_prompt(model, tokenizer, config.train.prompt)
    tokens = torch.tensor([prompt] * n_texts)
    return in_turns(lambda: plain.generate(tokens, TOKENS), lambda: list(generate(model, tokens, TOKENS)), rounds)


def learn_theirs(text: Path) -> float:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    letters = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB, initial_alphabet=letters, show_progress=False)
    return seconds(lambda: tokenizer.train([str(text)], trainer))


def learn_ours(text: Path) -> float:
    return seconds(lambda: bpe.learn(bpe.count_pieces(bpe.blocks(text)), VOCAB))


def byte_pairs(rounds: int) -> float:
    """Each time in a new process, as a vocabulary is learned once."""
    text = corpora.files("wikitext2")["train"]
    os.environ["RAYON_NUM_THREADS"] = "1"  # theirs
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        times = [[pool.submit(learn, text).result() for learn in (learn_theirs, learn_ours)] for _ in range(rounds)]
    theirs, ours = (statistics.median(of) for of in zip(*times, strict=True))
    return theirs / ours


def command(*arguments: str) -> float:
    """Seconds until a command has said all."""
    call = [sys.executable, "-m", *arguments]
    run = [seconds(lambda: subprocess.run(call, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)) for _ in range(4)]
    return statistics.median(run[1:])


def show(what: str, measured: str, goal: str, aim: str = "") -> None:
    print(f"{what:72} {measured:>8}   goal {goal:>6}   {f'aim {aim}' if aim else ''}".rstrip(), flush=True)


def main() -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    keep_freed_memory()
    for call, goal in (("lib.train --help", "0.3 s"), ("lib.train --list", "1 s"), ("lib.inference --help", "0.3 s")):
        show(f"python -m {call}", f"{command(*call.split()):.2f} s", goal)
    for vocab_size, n_layers, rounds, goals in (
        (50_257, 6, 4, {"float32": ("1.2 x", "1.5 x"), "bfloat16": ("1.1 x", "1.5 x")}),
        (2048, 3, 12, {"float32": ("1.15 x", "1.4 x"), "bfloat16": ("1.15 x", "1.4 x")}),
    ):
        for precision, goal in goals.items():
            what = f"tokens/s of training, {n_layers} layers of 256, {vocab_size:,} words, {precision}, to nanoGPT's"
            show(what, f"{training(vocab_size, n_layers, precision, rounds):.2f} x", *goal)
    for n_texts, rounds, goal in ((1, 4, "2 x"), (8, 2, "5 x")):
        what = f"sampling {TOKENS} tokens past a context of 128, texts at once: {n_texts}, to nanoGPT's"
        show(what, f"{sampling(n_texts, rounds):.2f} x", goal)
    show(f"learning {VOCAB:,} byte pairs of WikiText-2, to tokenizers'", f"{byte_pairs(3):.2f} x", "1.2 x")


if __name__ == "__main__":
    main()
