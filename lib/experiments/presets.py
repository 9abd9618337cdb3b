"""The configs that the experiments start from, and how cells of them are made."""

from collections.abc import Iterable, Sequence
from typing import Any

from lib.config import DataConfig, ModelConfig, OptimConfig, RunConfig, TrainConfig

Changes = dict[str, Any]  # of a config, by dotted name
TUNING = 100  # the first seed of trials: no reported run shares a seed with a trial
TRIAL = 2  # seeds for each setting tried: one could be lucky, and trials are not reported as results

# the network of Power et al. 2022 (arXiv 2201.02177, A.1.2, and its code), as changes of the handout's starter
POWER = {
    **{"model.norm_placement": "post", "model.activation": "relu", "model.positions": "sinusoidal"},
    **{"model.bias": False, "model.qkv_bias": False, "model.tied": False, "model.init": "torch", "optim.decay": "all"},
}
# Power et al.'s recipe (section A.1.2): AdamW, lr 1e-3, decay 1, β₂ 0.98, 10 warm-up steps, batches of 512
DIVISION = RunConfig(
    data=DataConfig(operation="/", p=97, train_fraction=0.5, val_fraction=0.1),
    model=ModelConfig(context_length=4),  # a / b =
    optim=OptimConfig(name="adamw", lr=1e-3, weight_decay=1.0, beta2=0.98, warmup_steps=10),
    train=TrainConfig(batch_size=512, max_steps=3000, eval_every=10, eval_growth=1),
)
DIVISION_POWER = DIVISION.override(POWER | {"train.max_steps": 8000, "train.eval_every": 20})  # T_grok is some 4,000

# Decay 2 and 100 warm-up steps: the only trial with 99.9 % of the validation split on both seeds (add_sub_tuning).
# 2,500 steps: after 1,000, two of the 24 runs are just short of 99.9 %.
ADD_SUB = DIVISION.override(
    {"optim.weight_decay": 2.0, "optim.warmup_steps": 100, "optim.schedule": "cosine", "optim.fall_steps": 2500}
    | {"train.max_steps": 2500, "train.eval_every": 20, "train.eval_growth": 1.1, "train.precision": "bfloat16"}
)
CHARACTERS = {"data.tokenizer": "character", "model.context_length": 8}  # 96+96=95, and <eos> is predicted only
UNTIL_SOLVED = {"train.stop_at": 0.99, "train.go_on": 1.1}  # a tenth longer, for the last of the three evaluations


def seeds(config: RunConfig, changes: Changes, n: int, first: int = 0) -> list[RunConfig]:
    """A cell: `config` with the changes, under n seeds from `first` on."""
    return [config.override(changes | {"seed": seed}) for seed in range(first, first + n)]


def own_splits(config: RunConfig, changes: Changes, n: int, first: int = 0) -> list[RunConfig]:
    """The same, each seed with a split of its own."""
    return [run.override({"data.split_seed": run.seed}) for run in seeds(config, changes, n, first)]


def sweep(config: RunConfig, cells: Iterable[Changes], n: int, first: int = 0) -> list[RunConfig]:
    """The `seeds` of some cells, one cell after the other."""
    return [run for cell in cells for run in seeds(config, cell, n, first)]


def trials(config: RunConfig, cells: Iterable[Changes]) -> list[RunConfig]:
    """The runs that decide between some cells, by the validation split."""
    return sweep(config, cells, TRIAL, first=TUNING)


def grid(rates: Sequence[float], decays: Sequence[float]) -> dict[str, Changes]:
    """A cell for each pair of a learning rate and a weight decay."""
    pairs = [(lr, decay) for lr in rates for decay in decays]
    return {f"lr {lr:g}, wd {decay:g}": {"optim.lr": lr, "optim.weight_decay": decay} for lr, decay in pairs}


def vary(field: str, *values: Any) -> dict[str, Changes]:
    """One cell per value of one field, named by the value."""
    return {f"{value:g}" if isinstance(value, float) else str(value): {field: value} for value in values}


GPT1 = {"model.norm_placement": "post", "model.n_heads": 12, "model.d_model": 768, "model.d_ff": 3072}
"""GPT-1's blocks (Radford et al. 2018): the starter's, normalised after each sublayer."""


def gpt2(emb_dim: int, n_heads: int, n_layers: int, qkv_bias: bool = False) -> dict[str, Any]:
    """GPT-2's blocks (Radford et al. 2019) in its names, the output layer untied as in the logged runs."""
    sizes = {"model.d_model": emb_dim, "model.d_ff": 4 * emb_dim, "model.n_heads": n_heads, "model.n_layers": n_layers}
    return sizes | {"model.qkv_bias": qkv_bias, "model.tied": False, "model.context_length": 1024}


GPT2_MEDIUM, GPT2_LARGE = gpt2(1024, 16, 24), gpt2(1280, 20, 36)
