"""The named experiments: each a function that returns its runs' configs."""

from collections.abc import Callable, Sequence
from typing import Any

from lib.config import PAPER, DataConfig, ModelConfig, OptimConfig, RunConfig, TrainConfig

Cells = dict[str, dict[str, Any]]  # name -> what it changes of a config

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

WARM_UP = DIVISION.override(
    {"optim.schedule": "cosine", "optim.fall_steps": 1500, "train.max_steps": 1500}
    | {"train.eval_growth": 1.05, "train.precision": "bfloat16"}
)
TRIALS: list[dict[str, Any]] = [
    *({"optim.lr": lr} for lr in (5e-4, 1e-3, 2e-3)),
    {"optim.weight_decay": 0.1},
    {"train.batch_size": 1024},
]
WATCHED = {"train.keep_answers": True, "train.eval_growth": 1.02}
UNTIL_SOLVED = {"train.stop_at": 0.99, "train.go_on": 1.1}
CHARACTERS = {"data.tokenizer": "character", "model.context_length": 8}
LONGER = {"train.max_steps": 3000, "optim.fall_steps": 3000}
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
# one layer from larger initial weights: a delay, and quick to train
DELAYED = BASELINE.override(
    {"model.n_layers": 1, "model.init_scale": 3, "train.max_steps": 1500, "train.eval_every": 20}
)
MUON = {"optim.name": "muon", "optim.lr": 1e-2}
RECIPE = DIVISION.override(
    MUON
    | {"optim.schedule": "cosine", "optim.fall_steps": 400, "optim.final_lr": 0.02}
    | {"train.max_steps": 2000, "train.eval_growth": 1.05, "train.stop_at": 0.99, "train.go_on": 10}
    | {"train.precision": "bfloat16"}
)


def grid(rates: Sequence[float], decays: Sequence[float]) -> Cells:
    """A cell for each pair of a learning rate and a weight decay."""
    pairs = [(lr, decay) for lr in rates for decay in decays]
    return {f"lr {lr:g}, wd {decay:g}": {"optim.lr": lr, "optim.weight_decay": decay} for lr, decay in pairs}


def vary(field: str, *values: Any) -> Cells:
    """One cell per value of one field, named by the value."""
    return {f"{value:g}" if isinstance(value, float) else str(value): {field: value} for value in values}


# the ablation: factor -> cell -> what it changes of BASELINE; the cell that changes nothing is the baseline itself
FACTORS: dict[str, Cells] = {
    "weight decay": vary("optim.weight_decay", 0.0, 0.1, 1.0, 2.0),
    "learning rate": vary("optim.lr", 5e-4, 1e-3, 2e-3),
    "initial scale": vary("model.init_scale", 0.5, 1.0, 2.0, 4.0),
    "train fraction": vary("data.train_fraction", 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8),
    "batch size": vary("train.batch_size", 256, 512, 1024),
    "dropout": vary("model.dropout", 0.0, 0.1),
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
CLAIMS = (
    MUON,
    {"train.precision": "float32"},
    {"optim.weight_decay": 0.0},
    {"model.init_scale": 2.0},
    {"model.init_scale": 4.0},
    {"train.batch_size": 1024},
)
# for DELAYED: AdamW on a wide grid; and on a small one AdamW, the methods said to shorten a delay, and Muon
CLOCK = grid((1e-3, 2e-3, 4e-3), (1.0, 2.0, 4.0))
METHODS: dict[str, tuple[dict[str, Any], Cells]] = {
    "AdamW": ({}, grid((2e-3, 4e-3), (1.0, 2.0))),
    "Grokfast": ({"optim.grokfast": 2.0}, grid((1e-3, 2e-3), (1.0, 2.0))),
    "⊥Grad": ({"optim.orthogonal": True}, grid((1e-3, 2e-3), (1.0, 2.0))),
    "StableMax": ({"model.output": "stablemax"}, grid((1e-3, 2e-3), (1.0, 2.0))),
    "Muon": ({"optim.name": "muon"}, grid((5e-3, 1e-2), (1.0, 2.0))),
}
BEST = dict.fromkeys(METHODS, "lr 0.002, wd 2") | {"Grokfast": "lr 0.001, wd 2", "Muon": "lr 0.01, wd 2"}  # by trial
MUON_GRID = grid((3e-3, 1e-2, 3e-2), (0.3, 1.0, 3.0))
# the recipe with one part taken away
PARTS: Cells = {
    "float32": {"train.precision": "float32"},
    "AdamW, lr 0.001, for Muon": {"optim.name": "adamw", "optim.lr": 1e-3},
    "constant learning rate": {"optim.schedule": "constant", "optim.fall_steps": 0, "optim.final_lr": 0.0},
    "no weight decay": {"optim.weight_decay": 0.0},
    "four times the initial weights": {"model.init_scale": 4},
}


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
    """Division mod 97, AdamW: the starter's network and the paper's, and the starter's with a tenth of the decay."""
    starter, paper = DIVISION.override({"train.max_steps": 1500}), DIVISION_PAPER.override({"train.max_steps": 6000})
    little = DIVISION.override({"optim.weight_decay": 0.1} | UNTIL_SOLVED)
    return [run for config in (starter, paper, little) for run in seeds(config, WATCHED, 3)]


def grokking_init() -> list[RunConfig]:
    """The control: the starter's network with the paper's initial weights, 3 seeds."""
    return seeds(DIVISION, {"model.init": "torch", "train.max_steps": 5000, "train.eval_every": 20}, 3)


def seeds(config: RunConfig, changes: dict[str, Any], n: int) -> list[RunConfig]:
    """A cell: `config` with the changes, under the seeds 0 to n - 1."""
    return [config.override(changes | {"seed": seed}) for seed in range(n)]


def tuned(config: RunConfig, changes: dict[str, Any], n: int) -> list[RunConfig]:
    """The same under seeds that are for tuning only: 100 to 99 + n."""
    return [config.override(changes | {"seed": seed}) for seed in range(100, 100 + n)]


def add_sub_tuning() -> list[RunConfig]:
    """The warm-up's hyper-parameters, chosen on the validation split of its hardest case."""
    hardest = WARM_UP.override({"data.operation": "-", "data.p": 113})
    return [run for trial in TRIALS for run in tuned(hardest, trial, 2)]


def add_sub() -> list[RunConfig]:
    """The warm-up: + and -, p = 97 and 113, 1 and 2 layers, 3 seeds each."""
    cells = [{"data.operation": o, "data.p": p, "model.n_layers": n} for o in "+-" for p in (97, 113) for n in (1, 2)]
    return [run for cell in cells for run in seeds(WARM_UP, cell, 3)]


def add_sub_longer() -> list[RunConfig]:
    """The two cells in which a seed is not done after 1,500 steps, with more of them."""
    longer = {"data.p": 113, "train.max_steps": 4000, "optim.fall_steps": 4000}
    return [run for o in "+-" for run in seeds(WARM_UP, longer | {"data.operation": o}, 3)]


def add_sub_characters() -> list[RunConfig]:
    """The warm-up with a token per digit, so that equations differ in length: p = 97."""
    cells = [{"data.operation": o, "model.n_layers": n} for o in "+-" for n in (1, 2)]
    return [run for cell in cells for run in seeds(WARM_UP, CHARACTERS | LONGER | cell, 3)]


def add_sub_adam() -> list[RunConfig]:
    """The handout's plain Adam, without decay, on the warm-up's easiest case."""
    adam = {"optim.name": "adam", "optim.weight_decay": 0.0, "data.operation": "+", "model.n_layers": 1}
    return seeds(WARM_UP, adam, 3)


def ablation() -> list[RunConfig]:
    """One factor at a time from the paper's recipe on the starter's network, 5 seeds per cell or more."""
    runs = [run for factor in FACTORS.values() for cell in factor.values() for run in ablation_cell(cell)]
    return list(dict.fromkeys(runs))


def ablation_cell(changes: dict[str, Any]) -> list[RunConfig]:
    """The runs of one cell: more where it is the baseline, or a claim rests on it."""
    n = MANY if BASELINE.override(changes) == BASELINE else CLAIM if changes in CLAIMS else SEEDS
    return seeds(BASELINE, changes, n)


def ablation_delayed() -> list[RunConfig]:
    """Where there is a delay: learning rate × weight decay, 5 seeds each."""
    return [run for cell in CLOCK.values() for run in seeds(DELAYED, cell, SEEDS)]


def methods_tuning() -> list[RunConfig]:
    """AdamW and what is said to be faster: four settings of each, judged on the validation split, 3 seeds each."""
    cells = [method | cell for method, settings in METHODS.values() for cell in settings.values()]
    return [run for cell in cells for run in tuned(DELAYED, cell, 3)]


def methods() -> list[RunConfig]:
    """Each with its best setting, 10 seeds that nothing was tuned on."""
    best = [method | settings[BEST[name]] for name, (method, settings) in METHODS.items()]
    return [run for cell in best for run in seeds(DELAYED, cell, CLAIM)]


def recipe_tuning() -> list[RunConfig]:
    """Learning rate × weight decay of the recipe, judged on the validation split, 3 seeds each."""
    short = RECIPE.override({"train.max_steps": 400, "train.go_on": 1.5})
    return [run for cell in MUON_GRID.values() for run in tuned(short, cell, 3)]


def recipe_parts() -> list[RunConfig]:
    """The recipe with one part taken away, 5 seeds each."""
    short = RECIPE.override({"train.max_steps": 1000, "train.go_on": 2})
    return [run for cell in PARTS.values() for run in seeds(short, cell, SEEDS)]


def recipe() -> list[RunConfig]:
    """What the ablation recommends, on 20 seeds that nothing was tuned on, up to ten times T_grok."""
    return [RECIPE.override({"seed": seed}) for seed in range(1000, 1000 + MANY)]


def mechanism() -> list[RunConfig]:
    """Networks to look into: DELAYED on 10 seeds, to three times T_grok, the first with its weights on the way."""
    first, *others = seeds(DELAYED, {"train.max_steps": 4000, "train.go_on": 3}, CLAIM)
    return [first.override({"train.keep_weights": True}), *others]


def isomorphism() -> list[RunConfig]:
    """Division modulo 97 without a = 0, and subtraction modulo 96, each on 10 seeds and as many splits."""
    tasks: Cells = {"/": {"data.p": 97, "data.skip_zero": True}, "-": {"data.p": 96}}
    runs = [run for o, task in tasks.items() for run in seeds(DELAYED, task | {"data.operation": o}, CLAIM)]
    return [run.override({"data.split_seed": run.seed, "train.max_steps": 4000}) for run in runs]


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
    "add_sub_longer": add_sub_longer,
    "add_sub_characters": add_sub_characters,
    "add_sub_adam": add_sub_adam,
    "ablation": ablation,
    "ablation_delayed": ablation_delayed,
    "methods_tuning": methods_tuning,
    "methods": methods,
    "recipe_tuning": recipe_tuning,
    "recipe_parts": recipe_parts,
    "recipe": recipe,
    "mechanism": mechanism,
    "isomorphism": isomorphism,
}
