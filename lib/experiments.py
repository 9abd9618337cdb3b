"""The named experiments: each a function that returns its runs' configs."""

from collections.abc import Callable
from typing import Any

from lib.config import PAPER, DataConfig, ModelConfig, OptimConfig, RunConfig, TrainConfig

MEMORIZE = RunConfig(
    data=DataConfig(task="text"),
    model=ModelConfig(n_layers=1, n_heads=4, d_model=64, d_ff=256, context_length=24),
    optim=OptimConfig(lr=1e-3, weight_decay=0.0),
    train=TrainConfig(batch_size=1, max_steps=1000, eval_every=5),
)
DIVISION = RunConfig(
    data=DataConfig(operation="/", p=97, train_fraction=0.5, val_fraction=0.1),
    model=ModelConfig(context_length=4),
    optim=OptimConfig(name="adamw", lr=1e-3, weight_decay=1.0, beta2=0.98, warmup_steps=10),
    train=TrainConfig(batch_size=512, max_steps=3000, eval_every=10, eval_growth=1),
)
DIVISION_PAPER = DIVISION.override(PAPER | {"train.max_steps": 8000, "train.eval_every": 20})

CHARACTERS = {"data.tokenizer": "character", "model.context_length": 8}
SEEDS, CLAIM, MANY = 5, 10, 20  # runs in a cell of the ablation; where a claim is made; of the recipe and the baseline
BASELINE = DIVISION.override(
    {
        "train.max_steps": 1000,
        "train.eval_growth": 1.05,
        "train.stop_at": 0.99,
        "train.go_on": 1.25,
        "train.precision": "bfloat16",
    }
)
MUON = {"optim.name": "muon", "optim.lr": 1e-2}
RECIPE = DIVISION.override(
    MUON
    | {"optim.schedule": "cosine", "optim.fall_steps": 400, "optim.final_lr": 0.02}
    | {"train.max_steps": 2000, "train.eval_growth": 1.05, "train.stop_at": 0.99, "train.go_on": 10}
    | {"train.precision": "bfloat16"}
)


def vary(field: str, *values: Any) -> dict[str, dict[str, Any]]:
    """One cell per value of one field, named by the value."""
    return {f"{value:g}" if isinstance(value, float) else str(value): {field: value} for value in values}


# the ablation: factor -> cell -> what it changes of BASELINE; the cell that changes nothing is the baseline itself
FACTORS: dict[str, dict[str, dict[str, Any]]] = {
    "weight decay": vary("optim.weight_decay", 0.0, 0.1, 0.3, 1.0, 2.0),
    "learning rate": vary("optim.lr", 5e-4, 1e-3, 2e-3, 4e-3),
    "initial scale": vary("model.init_scale", 0.5, 1.0, 2.0, 4.0),
    "train fraction": vary("data.train_fraction", 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8),
    "batch size": vary("train.batch_size", 128, 256, 512, 1024),
    "dropout": vary("model.dropout", 0.0, 0.2),
    "Adam's β₂": vary("optim.beta2", 0.9, 0.98, 0.999),
    "warm-up steps": vary("optim.warmup_steps", 10, 100),
    "tokenizer": {"number": {}, "character": CHARACTERS},
    "norm": {
        "pre": {},
        "post": {"model.norm_placement": "post"},
        "RMS, pre": {"model.norm": "rmsnorm"},
        "none": {"model.norm": "none"},
    },
    "embeddings": {"tied": {}, "untied": {"model.tied": False}},
    "layers": vary("model.n_layers", 1, 2),
    "optimiser": {
        "AdamW": {},
        "Adam, L2 1e-4": {"optim.name": "adam", "optim.weight_decay": 1e-4},
        "Adam, L2 1e-3": {"optim.name": "adam", "optim.weight_decay": 1e-3},
        "momentum": {"optim.name": "momentum", "optim.lr": 0.1, "optim.weight_decay": 1e-4},
        "Muon, lr 1e-3": MUON | {"optim.lr": 1e-3},
        "Muon, lr 1e-2": MUON,
    },
    "method": {
        "none": {},
        "Grokfast": {"optim.grokfast": 2.0},
        "⊥Grad": {"optim.orthogonal": True},
        "StableMax": {"model.output": "stablemax"},
    },
    "products in": {"bfloat16": {}, "float32": {"train.precision": "float32"}},
}
CLAIMS = (MUON, {"train.precision": "float32"})


def memorize() -> list[RunConfig]:
    """One layer memorises "I love machine learning"."""
    return [MEMORIZE]


def memorize_masked() -> list[RunConfig]:
    """The same, with the first 3 tokens left out of the loss."""
    return [MEMORIZE.override({"data.skip_loss": 3})]


def memorize_lr() -> list[RunConfig]:
    """Lesson: four learning rates."""
    return [MEMORIZE.override({"optim.lr": lr}) for lr in (1e-3, 3e-4, 1e-4, 1e-5)]


def memorize_context() -> list[RunConfig]:
    """Lesson: contexts shorter than the sentence."""
    return [windows(size, batch_size=16) for size in (1, 2, 3, 8)]


def memorize_batch() -> list[RunConfig]:
    """Lesson: four batch sizes, out of the 17 windows of 8 tokens."""
    return [windows(8, batch_size) for batch_size in (1, 2, 4, 17)]


def windows(size: int, batch_size: int) -> RunConfig:
    """MEMORIZE on pieces of the sentence of `size` tokens, by a network that can read no more."""
    changes = {"data.window": size, "model.context_length": size, "train.batch_size": batch_size}
    return MEMORIZE.override(changes | {"train.max_steps": 500})


def grokking() -> list[RunConfig]:
    """Division mod 97, AdamW with weight decay 1: the starter's network and the paper's, 3 seeds each."""
    return [config.override({"seed": seed}) for config in (DIVISION, DIVISION_PAPER) for seed in range(3)]


def grokking_init() -> list[RunConfig]:
    """The control: each of the two networks with the other's initial weights, 3 seeds each."""
    swapped = (
        DIVISION.override({"model.init": "torch", "train.max_steps": 5000, "train.eval_every": 20}),
        DIVISION_PAPER.override({"model.init": "gpt2", "train.max_steps": 3000, "train.eval_every": 10}),
    )
    return [config.override({"seed": seed}) for config in swapped for seed in range(3)]


def seeds(config: RunConfig, changes: dict[str, Any], n: int) -> list[RunConfig]:
    """A cell: `config` with the changes, under the seeds 0 to n - 1."""
    return [config.override(changes | {"seed": seed}) for seed in range(n)]


def ablation() -> list[RunConfig]:
    """One factor at a time from the paper's recipe on the starter's network, 5 seeds per cell or more."""
    runs = [run for factor in FACTORS.values() for cell in factor.values() for run in ablation_cell(cell)]
    return list(dict.fromkeys(runs))


def ablation_cell(changes: dict[str, Any]) -> list[RunConfig]:
    """The runs of one cell: more where it is the baseline, or a claim rests on it."""
    n = MANY if BASELINE.override(changes) == BASELINE else CLAIM if changes in CLAIMS else SEEDS
    return seeds(BASELINE, changes, n)


def recipe() -> list[RunConfig]:
    """What the ablation recommends, on 20 seeds that nothing was tuned on, up to ten times T_grok."""
    return [RECIPE.override({"seed": seed}) for seed in range(1000, 1000 + MANY)]


def grokking_slow() -> list[RunConfig]:
    """The paper's network with Adam and no decay, as in the paper's Figure 1 (over an hour)."""
    changes = {"optim.name": "adam", "optim.weight_decay": 0, "train.max_steps": 100_000}
    log_spaced = {"train.eval_every": 10, "train.eval_growth": 1.02}
    return [DIVISION_PAPER.override(changes | log_spaced | {"optim.decay": "matrices"})]  # nothing decays


ALL: dict[str, Callable[[], list[RunConfig]]] = {
    "memorize": memorize,
    "memorize_masked": memorize_masked,
    "memorize_lr": memorize_lr,
    "memorize_context": memorize_context,
    "memorize_batch": memorize_batch,
    "grokking": grokking,
    "grokking_init": grokking_init,
    "grokking_slow": grokking_slow,
    "ablation": ablation,
    "recipe": recipe,
}
