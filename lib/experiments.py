"""The named experiments: each a function that returns its runs' configs."""

from collections.abc import Callable

from lib import ablation, language_models
from lib.config import RunConfig
from lib.presets import (
    CHARACTERS,
    DIVISION,
    DIVISION_PAPER,
    MEMORIZE,
    TRIAL,
    TUNING,
    UNTIL_SOLVED,
    WARM_UP,
    Changes,
    seeds,
)

TRIALS: list[Changes] = [
    *({"optim.lr": lr} for lr in (5e-4, 1e-3, 2e-3)),
    *({"optim.weight_decay": decay} for decay in (0.1, 1.0)),
    {"optim.warmup_steps": 10},
]
DIGITS = WARM_UP.override(
    CHARACTERS | {"optim.lr": 3e-3, "optim.weight_decay": 1.0, "optim.fall_steps": 1200, "train.max_steps": 1200}
)
WATCHED = {"train.keep_answers": True, "train.eval_growth": 1.03}


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


def add_sub_tuning() -> list[RunConfig]:
    """The warm-up's hyper-parameters, chosen on the validation split of one of its cells, in fewer steps."""
    short = {"train.max_steps": 1000, "optim.fall_steps": 1000}
    cell = WARM_UP.override({"data.operation": "-", "data.p": 113} | short)
    return [run for trial in TRIALS for run in seeds(cell, trial, TRIAL, first=TUNING)]


def add_sub() -> list[RunConfig]:
    """The warm-up: + and -, p = 97 and 113, 1 and 2 layers, 3 seeds each."""
    cells = [{"data.operation": o, "data.p": p, "model.n_layers": n} for o in "+-" for p in (97, 113) for n in (1, 2)]
    return [run for cell in cells for run in seeds(WARM_UP, cell, 3)]


def add_sub_characters_tuning() -> list[RunConfig]:
    """The learning rate where a token is a digit, chosen on the validation split of subtraction with one layer."""
    rates = [{"data.operation": "-", "model.n_layers": 1, "optim.lr": lr} for lr in (1e-3, 2e-3, 3e-3)]
    return [run for rate in rates for run in seeds(DIGITS, rate, TRIAL, first=TUNING)]


def add_sub_characters() -> list[RunConfig]:
    """The warm-up with a token per digit, so that equations differ in length: p = 97."""
    cells = [{"data.operation": o, "model.n_layers": n} for o in "+-" for n in (1, 2)]
    return [run for cell in cells for run in seeds(DIGITS, cell, 3)]


def add_sub_adam() -> list[RunConfig]:
    """The handout's plain Adam, without decay, on the warm-up's easiest case."""
    adam = {"optim.name": "adam", "optim.weight_decay": 0.0, "data.operation": "+", "model.n_layers": 1}
    return seeds(WARM_UP, adam, 3)


def grokking() -> list[RunConfig]:
    """Division mod 97, AdamW: the starter's network and the paper's, and the starter's with a tenth of the decay."""
    starter, paper = DIVISION.override({"train.max_steps": 1500}), DIVISION_PAPER.override({"train.max_steps": 6000})
    little = DIVISION.override({"optim.weight_decay": 0.1} | UNTIL_SOLVED)
    return [run for config in (starter, paper, little) for run in seeds(config, WATCHED, 3)]


def grokking_init() -> list[RunConfig]:
    """The control: the starter's network with the paper's initial weights."""
    control = {"model.init": "torch", "train.max_steps": 5000, "train.precision": "bfloat16", "train.eval_every": 20}
    return [DIVISION.override(control | {"train.eval_growth": 1.05} | UNTIL_SOLVED)]


def grokking_slow() -> list[RunConfig]:
    """The paper's network with Adam and no decay, as in the paper's Figure 1, and with weight decay 0.1 (hours)."""
    paper = DIVISION_PAPER.override({"train.max_steps": 100_000, "train.eval_every": 10, "train.eval_growth": 1.02})
    adam = {"optim.name": "adam", "optim.weight_decay": 0, "optim.decay": "matrices"}  # nothing decays
    return [paper.override(adam), paper.override({"optim.weight_decay": 0.1} | UNTIL_SOLVED)]


ALL: dict[str, Callable[[], list[RunConfig]]] = {
    "memorize": memorize,
    "memorize_masked": memorize_masked,
    "memorize_lr": memorize_lr,
    "memorize_context": memorize_context,
    "memorize_batch": memorize_batch,
    "grokking": grokking,
    "grokking_init": grokking_init,
    "grokking_slow": grokking_slow,
    "add_sub_tuning": add_sub_tuning,
    "add_sub": add_sub,
    "add_sub_characters_tuning": add_sub_characters_tuning,
    "add_sub_characters": add_sub_characters,
    "add_sub_adam": add_sub_adam,
    "ablation": ablation.ablation,
    "ablation_two_layers": ablation.ablation_two_layers,
    "ablation_delayed": ablation.ablation_delayed,
    "methods_tuning": ablation.methods_tuning,
    "methods": ablation.methods,
    "recipe_tuning": ablation.recipe_tuning,
    "recipe_parts": ablation.recipe_parts,
    "recipe": ablation.recipe,
    "recipe_splits": ablation.recipe_splits,
    "mechanism": ablation.mechanism,
    "isomorphism": ablation.isomorphism,
}
APART = ("grokking_slow", "ablation_two_layers", "mechanism", "isomorphism")  # long, or for notebook 06
# what `all` stands for: not the trials either, whose outcome is in the configs of the others
TRAINED_AGAIN = tuple(name for name in ALL if name not in APART and not name.endswith("_tuning"))
ALL |= language_models.ON_A_CPU
ON_A_GPU = language_models.ON_A_GPU  # of which no run is stored
