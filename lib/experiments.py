"""The named experiments: each a function that returns its runs' configs."""

from collections.abc import Callable

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
}
