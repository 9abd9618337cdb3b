"""What a run is: one frozen RunConfig = data + model + optim + train + seed.

A config is checked when it is made, written in full to `config.json`, and named by the hash of the fields that
differ from their defaults, so that a field added later leaves the names of older runs alone. Defaults never change.
"""

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Literal

from lib.support.errors import UserError
from lib.support.expressions import CONDITION, OPERATION, SIGNS, fault, is_of_permutations
from lib.support.fields import Nested, Section, defaults, option


@dataclass(frozen=True)
class DataConfig(Section):
    task: Literal["arithmetic", "text", "corpus"] = option("arithmetic", "equations, a text to memorise, or a corpus")
    operation: str = option("/", f"the operation o in a o b = c (mod p): {OPERATION}")
    p: int = option(97, "the modulus; prime for division; for permutations their number, 120")
    train_where: str = option("", f"train only on equations for which this holds: {CONDITION}")
    train_fraction: float = option(0.5, "share of the equations to train on, of those that train_where admits")
    val_fraction: float = option(0.1, "share of all equations to tune on, the rest is for testing; or a corpus's end")
    split_seed: int = option(0, "seed of the one permutation that makes the splits; apart from the run's own seed")
    skip_zero: bool = option(False, "leave out all equations with a = 0, which division cannot reach by logarithms")
    label_noise: float = option(0.0, "share of the train equations that have a wrong answer, any other number")
    own_b: bool = option(False, "write b with tokens of its own, of which none stands for an a or a c")
    tokenizer: Literal["number", "character", "bpe", "gpt1", "gpt2"] = option(
        "number", "a token per number or character; corpus: per character, by its own byte pairs, or as GPT-1 or GPT-2"
    )
    text: str = option("I love machine learning", "the text to memorise")
    skip_loss: int = option(0, "text: leave the first so many tokens out of the loss")
    window: int = option(0, "text: all windows of so many tokens (0: the whole text); corpus: tokens a row, no overlap")
    corpus: str = option("wikitext2", "corpus: wikitext2, tinystories, tinyshakespeare, or the path of a text file")
    val_corpus: str = option("", "corpus: the path of a text file to validate on; empty: the end of data.corpus")
    vocab_size: int = option(2048, "bpe: entries of the vocabulary, which is learned from the training text")
    train_tokens: int = option(0, "corpus: train on the first so many tokens; 0: on all")
    eval_tokens: int = option(0, "corpus: evaluate on about so many tokens, spread over each split; 0: on all")

    @property
    def sign(self) -> str:
        """The operation in an equation as text: its own sign, or o for an expression."""
        return self.operation if self.operation in SIGNS else "o"

    def check(self) -> None:
        if self.task == "arithmetic":
            self.require(self.tokenizer in ("number", "character"), "tokenizer", "number or character for equations")
            self.require(3 <= self.p <= 1999, "p", "from 3 to 1999")
            prime = all(self.p % divisor for divisor in range(2, self.p))
            self.require(prime or self.operation != "/", "p", "prime for division, such as 97 or 113")
            self.require(self.p == 120 or not is_of_permutations(self.operation), "p", "120 for permutations")
            self.require(not (wrong := fault(self.operation, self.p)), "operation", f"{OPERATION}; {wrong}")
            self.require(not (wrong := fault(self.train_where)), "train_where", f"{CONDITION}; {wrong}")
            self.require(0 < self.val_fraction < 1, "val_fraction", "above 0 and below 1, and leave no split empty")
            most = f"less than 1 - data.val_fraction = {1 - self.val_fraction:g}, or with data.train_where at most 1"
            fits = 0 < self.train_fraction <= 1 if self.train_where else 0 < self.train_fraction < 1 - self.val_fraction
            self.require(fits, "train_fraction", f"above 0 and {most}, and leave no split empty")
            self.require(0 <= self.label_noise < 1, "label_noise", "at least 0 and below 1")
            self.require(not self.own_b or self.tokenizer == "number", "own_b", "false unless data.tokenizer = number")
        elif self.task == "text":
            self.require(len(self.text) > 0, "text", "at least one character")
            allowed = "number, the default, or character for a text, which is read by characters"
            self.require(self.tokenizer in ("number", "character"), "tokenizer", allowed)
            self.require(0 <= self.skip_loss <= len(self.text), "skip_loss", f"from 0 to {len(self.text)}")
            self.require(0 <= self.window <= len(self.text), "window", f"from 0 to {len(self.text)}, the text's length")
            self.require(not (self.skip_loss and self.window), "skip_loss", "0 when data.window is used")
        else:
            self.require(self.tokenizer != "number", "tokenizer", "character, bpe, gpt1 or gpt2 for a corpus")
            self.require(self.window >= 1, "window", "at least 1 for a corpus")
            self.require(257 <= self.vocab_size <= 100_000, "vocab_size", "from 257, all bytes and the end, to 100000")
            self.require(0 < self.val_fraction < 1, "val_fraction", "above 0 and below 1")
            for name in ("train_tokens", "eval_tokens"):
                allowed = f"0, or more than data.window = {self.window}"
                self.require(getattr(self, name) == 0 or getattr(self, name) > self.window, name, allowed)


@dataclass(frozen=True)
class ModelConfig(Section):
    """The defaults are the handout's starter (nanoGPT); experiments/presets.py has the other networks."""

    kind: Literal["transformer", "lstm"] = option("transformer", "the network; lstm uses n_layers, d_model, d_hidden")
    n_layers: int = option(2, "number of transformer blocks, or of LSTM layers")
    n_heads: int = option(4, "attention heads per block")
    d_model: int = option(128, "width of the residual stream")
    d_ff: int = option(512, "width of the feed-forward layer")
    d_hidden: int = option(512, "lstm: width of the state")
    frozen_embeddings: bool = option(False, "leave the token and position embeddings as they are initialised")
    context_length: int = option(32, "longest sequence the model can read, in tokens")
    norm: Literal["layernorm", "rmsnorm", "none"] = option("layernorm", "normalisation")
    norm_eps: float = option(0.0, "added to the norm's variance; 0: torch's own, 1e-5, but 1.2e-7 for rmsnorm")
    norm_placement: Literal["pre", "post"] = option("pre", "normalise before each sublayer, or after adding it")
    activation: Literal["gelu", "gelu_tanh", "relu", "swiglu"] = option("gelu", "nonlinearity; gelu_tanh as in GPT-2")
    positions: Literal["learned", "sinusoidal", "rope", "none"] = option("learned", "position encoding")
    bias: bool = option(True, "biases in all linear layers but the query, key and value projections")
    qkv_bias: bool = option(True, "biases in the query, key and value projections")
    tied: bool = option(True, "share the token embedding with the output layer")
    output: Literal["softmax", "stablemax"] = option("softmax", "how logits become probabilities")
    temperature: float = option(1.0, "what logits are divided by, in training and after")
    dropout: float = option(0.0, "dropout after the embedding, on the attention weights and on each sublayer")
    init: Literal["gpt2", "torch"] = option("gpt2", "N(0, 0.02) as GPT-2; or torch's own, with embeddings N(0, 1)")
    init_scale: float = option(1.0, "factor on all initial weights but the norms'")

    def check(self) -> None:
        for name in ("n_layers", "n_heads", "d_model", "d_ff", "d_hidden", "context_length"):
            self.require(getattr(self, name) >= 1, name, "at least 1")
        self.require(self.d_model % self.n_heads == 0, "d_model", f"divisible by model.n_heads = {self.n_heads}")
        if self.positions == "rope":
            self.require((self.d_model // self.n_heads) % 2 == 0, "d_model", "an even number per head for rope")
        if self.positions == "sinusoidal":
            self.require(self.d_model % 2 == 0, "d_model", "even for sinusoidal positions")
        self.require(0 <= self.dropout < 1, "dropout", "at least 0 and below 1")
        self.require(self.norm_eps >= 0, "norm_eps", "at least 0")
        for name in ("init_scale", "temperature"):
            self.require(getattr(self, name) > 0, name, "above 0")


@dataclass(frozen=True)
class OptimConfig(Section):
    name: Literal["adam", "adamw", "sgd", "momentum", "muon", "lion", "signsgd"] = option("adamw", "optimiser")
    lr: float = option(1e-3, "learning rate after warm-up")
    weight_decay: float = option(1.0, "w <- (1 - lr * weight_decay) w; adam, sgd, momentum: L2 in the gradient")
    decay: Literal["matrices", "all"] = option("matrices", "what decays: tensors of two or more dimensions, or all")
    beta1: float = option(0.9, "Adam's, Lion's decay of the first moment; also the momentum of `momentum`")
    beta2: float = option(0.98, "Adam's decay of the second moment; Lion's of its average")
    warmup_steps: int = option(10, "steps over which the learning rate rises linearly")
    schedule: Literal["constant", "cosine"] = option("constant", "after warm-up: stay, or fall along half a cosine")
    fall_steps: int = option(0, "cosine: the step at which it is down; 0: max_steps")
    final_lr: float = option(0.0, "cosine: what it falls to, and stays at, as a share of lr")
    clip: float = option(0.0, "largest global norm of the gradient; 0: no clipping")
    grokfast: float = option(0.0, "Grokfast-EMA: how much of the gradient's running mean to add to it; 0: off")
    grokfast_decay: float = option(0.98, "Grokfast-EMA: decay of that running mean")
    orthogonal: bool = option(False, "orthogonal gradient: drop each gradient's component along its weights")
    methods: str = option("", "other methods and their numbers x, such as 'row_clip=1.75, norm_cap=2'")

    def check(self) -> None:
        self.require(self.lr > 0, "lr", "above 0")
        for name in ("beta1", "beta2", "grokfast_decay"):
            self.require(0 <= getattr(self, name) < 1, name, "at least 0 and below 1")
        for name in ("weight_decay", "warmup_steps", "fall_steps", "clip", "grokfast"):
            self.require(getattr(self, name) >= 0, name, "at least 0")
        self.require(0 <= self.final_lr <= 1, "final_lr", "a share from 0 to 1")
        for name in ("fall_steps", "final_lr"):
            self.require(self.schedule == "cosine" or not getattr(self, name), name, "0 unless optim.schedule = cosine")
        allowed = f"0, or more than optim.warmup_steps = {self.warmup_steps}"
        self.require(self.fall_steps == 0 or self.fall_steps > self.warmup_steps, "fall_steps", allowed)


@dataclass(frozen=True)
class TrainConfig(Section):
    batch_size: int = option(512, "sequences per step, without replacement within an epoch; a smaller split whole")
    max_steps: int = option(3000, "optimiser steps at most")
    eval_every: int = option(10, "steps between evaluations, at least")
    eval_growth: float = option(1.02, "and each evaluation at least so many times the step of the last (log-spaced)")
    stop_at: float = option(0.0, "solved: three evaluations in a row with this held-out accuracy; 0: off")
    go_on: float = option(1.0, "stop at so many times the step at which it was solved")
    keep_answers: bool = option(False, "keep all answers in answers.npz, at steps 1.5 times apart and the last")
    keep_weights: bool = option(False, "keep the weights in weights/, at steps 1.5 times apart and the last")
    precision: Literal["float32", "bfloat16", "float16"] = option("float32", "of matrix products, not of weights")
    accumulation: int = option(1, "compute each batch in so many parts, one after the other, for one optimiser step")
    activation_checkpointing: bool = option(False, "transformer: compute each block twice instead of keeping it")
    whole_logits: bool = option(False, "corpus: hold the logits of all tokens at once instead of a chunk at a time")
    prompt: str = option("", "corpus: a text to continue at each evaluation, into samples.json; empty: none")

    def evaluation_steps(self) -> set[int]:
        """The steps after which to evaluate: 0, then `eval_every` apart, then growing by `eval_growth`; the last."""
        steps, step = {self.max_steps}, 0
        while step < self.max_steps:
            steps.add(step)
            step = max(step + self.eval_every, math.ceil(step * self.eval_growth))
        return steps

    def check(self) -> None:
        for name in ("batch_size", "max_steps", "eval_every", "eval_growth", "go_on"):
            self.require(getattr(self, name) >= 1, name, "at least 1")
        self.require(0 <= self.stop_at <= 1, "stop_at", "an accuracy from 0 to 1")
        divides = self.accumulation >= 1 and self.batch_size % self.accumulation == 0
        self.require(divides, "accumulation", f"at least 1 and a divisor of train.batch_size = {self.batch_size}")


@dataclass(frozen=True)
class RunConfig(Nested):
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()
    seed: int = option(0, "seed of initial weights, dropout and the order of batches, which is hashed from 4,295 on")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.seed < 2**31:
            raise UserError(f"seed = {self.seed}: must be from 0 to 2147483647")

    @property
    def id(self) -> str:
        """Ten hex digits that name this config: a hash of the fields that differ from the defaults."""
        changed = dict(self.flat().items() - defaults(RunConfig).items())
        return hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()[:10]
