"""The experiments on what makes grokking faster and more reliable, and on the networks that come of them."""

from lib.config import RunConfig
from lib.experiments.presets import CHARACTERS, DIVISION, Changes, grid, own_splits, seeds, sweep, trials, vary

WITH_SNAPSHOTS = 3  # networks whose weights are kept on the way
SEEDS, CLAIM, MANY = 5, 10, 20  # runs in a cell of the ablation; where a claim is made; of the recipe and the baselines
# bfloat16 makes no visible difference (the cell "products in"); runs end once the held-out splits are solved
QUICK = {"train.precision": "bfloat16", "train.eval_growth": 1.05, "train.stop_at": 0.99}
BASELINE = DIVISION.override(  # one layer groks as two do, in cheaper steps; twice the median T_grok of 400
    QUICK | {"model.n_layers": 1, "train.max_steps": 800, "train.eval_every": 20, "train.go_on": 1.25}
)
# the homework's network; twice the median T_grok of 448
TWO_LAYERS = DIVISION.override(QUICK | {"train.max_steps": 1000, "train.go_on": 1.25})
# three times the initial weights: a delay to shorten, and all seeds still grok in 1,500 steps
DELAYED = BASELINE.override({"model.init_scale": 3, "train.max_steps": 1500})
MUON = {"optim.name": "muon", "optim.lr": 1e-2}  # the rate by trial (recipe_tuning)
# the rate falls to a fiftieth by step 400, some 2.5 × T_grok: a constant one leaves the solution now and then
FALLING = {"optim.schedule": "cosine", "optim.fall_steps": 400, "optim.final_lr": 0.02}
RECIPE = DIVISION.override(QUICK | MUON | FALLING | {"train.max_steps": 2000, "train.go_on": 10})

# the ablation: factor -> cell -> what it changes of a baseline; the cell that changes nothing is the baseline itself
FACTORS: dict[str, dict[str, Changes]] = {
    "weight decay": vary("optim.weight_decay", 0.0, 0.1, 1.0, 2.0),
    "learning rate": vary("optim.lr", 5e-4, 1e-3, 2e-3, 1e-2),
    "initial scale": vary("model.init_scale", 0.5, 1.0, 2.0, 4.0),
    "train fraction": vary("data.train_fraction", 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8),
    "batch size": vary("train.batch_size", 256, 512, 1024),
    "dropout": vary("model.dropout", 0.0, 0.1),
    "Adam's β₂": vary("optim.beta2", 0.9, 0.98, 0.999),
    "warm-up steps": vary("optim.warmup_steps", 10, 100),
    "tokenizer": {"number": {}, "character": CHARACTERS},
    "norm": vary("model.norm_placement", "pre", "post")
    | {"RMS, pre": {"model.norm": "rmsnorm"}, "none": {"model.norm": "none"}},
    "embeddings": {"tied": {}, "untied": {"model.tied": False}},
    "optimiser": {
        "AdamW": {},
        "Adam, L2 1e-3": {"optim.name": "adam", "optim.weight_decay": 1e-3},
        "momentum": {"optim.name": "momentum", "optim.lr": 0.1, "optim.weight_decay": 1e-4},
        "Muon, lr 1e-3": MUON | {"optim.lr": 1e-3},
        "Muon, lr 1e-2": MUON,
    },
    "method": {
        "none": {},
        "Grokfast": {"optim.grokfast": 2.0},  # λ = 2, α = 0.98: the paper's own
        "⊥Grad": {"optim.orthogonal": True},
        "StableMax": {"model.output": "stablemax"},
    },
    "products in": {"bfloat16": {}, "float32": {"train.precision": "float32"}},
}
CLAIMS = [MUON, {"train.precision": "float32"}, {"optim.weight_decay": 0.0}, {"train.batch_size": 1024}]
CLAIMS += vary("model.init_scale", 2.0, 4.0).values()
# for DELAYED: AdamW on a wide grid; and on a small one AdamW, the methods said to shorten a delay, and Muon
CLOCK = grid((1e-3, 2e-3, 4e-3), (1.0, 2.0, 4.0))
METHODS: dict[str, tuple[Changes, dict[str, Changes]]] = {
    "AdamW": ({}, grid((2e-3, 4e-3), (1.0, 2.0))),
    "Grokfast": ({"optim.grokfast": 2.0}, grid((1e-3, 2e-3), (1.0, 2.0))),
    "⊥Grad": ({"optim.orthogonal": True}, grid((1e-3, 2e-3), (1.0, 2.0))),
    "StableMax": ({"model.output": "stablemax"}, grid((1e-3, 2e-3), (1.0, 2.0))),
    "Muon": ({"optim.name": "muon"}, grid((5e-3, 1e-2), (1.0, 2.0))),
}
BEST = dict.fromkeys(METHODS, "lr 0.002, wd 2") | {"Muon": "lr 0.01, wd 2"}  # by trial
MUON_GRID = grid((3e-3, 1e-2, 3e-2), (0.3, 1.0, 3.0))
FOLLOWED = {"train.max_steps": 1000, "train.go_on": 5}  # to see whether it stays
# the recipe with one part taken away
PARTS: dict[str, Changes] = {
    "AdamW for Muon": {"optim.name": "adamw", "optim.lr": 1e-3},
    "constant rate": {"optim.schedule": "constant", "optim.fall_steps": 0, "optim.final_lr": 0.0} | FOLLOWED,
    "no decay": {"optim.weight_decay": 0.0},
    "4 × initial weights": {"model.init_scale": 4},
}


def ablation(baseline: RunConfig = BASELINE) -> list[RunConfig]:
    """One factor at a time from the paper's recipe on one layer of the starter's network, 5 seeds per cell or more."""
    runs = [run for cells in FACTORS.values() for cell in cells.values() for run in ablation_cell(cell, baseline)]
    return list(dict.fromkeys(runs))


def ablation_cell(changes: Changes, baseline: RunConfig = BASELINE) -> list[RunConfig]:
    """The runs of one cell: more where it is the baseline, or a claim rests on it."""
    n = MANY if baseline.override(changes) == baseline else CLAIM if changes in CLAIMS else SEEDS
    return seeds(baseline, changes, n)


def ablation_two_layers() -> list[RunConfig]:
    """The same on two layers (an hour on two cores)."""
    return ablation(TWO_LAYERS)


def ablation_delayed() -> list[RunConfig]:
    """Where there is a delay: learning rate × weight decay, 5 seeds each."""
    return sweep(DELAYED, CLOCK.values(), SEEDS)


def methods_tuning() -> list[RunConfig]:
    """AdamW and what is said to be faster: four settings of each, judged on the validation split, 2 seeds each."""
    return trials(DELAYED, (method | cell for method, settings in METHODS.values() for cell in settings.values()))


def methods() -> list[RunConfig]:
    """Each with its best setting, 10 seeds that nothing was tuned on."""
    return sweep(DELAYED, (method | settings[BEST[name]] for name, (method, settings) in METHODS.items()), CLAIM)


def recipe_tuning() -> list[RunConfig]:
    """Learning rate × weight decay of the recipe, judged on the validation split, 2 seeds each."""
    return trials(RECIPE.override({"train.max_steps": 400, "train.go_on": 1.5}), MUON_GRID.values())


def recipe_parts() -> list[RunConfig]:
    """The recipe with one part taken away, 5 seeds each."""
    return sweep(RECIPE.override({"train.max_steps": 400, "train.go_on": 2}), PARTS.values(), SEEDS)


def recipe() -> list[RunConfig]:
    """What the ablation recommends, on 20 seeds that nothing was tuned on, up to ten times T_grok."""
    return seeds(RECIPE, {}, MANY, first=1000)


def recipe_splits() -> list[RunConfig]:
    """The recipe on ten other splits of the data, each with a seed of its own."""
    return own_splits(RECIPE, {"train.go_on": 2}, CLAIM, first=2000)


def mechanism() -> list[RunConfig]:
    """Networks to look into: DELAYED on 10 seeds, to three times T_grok, the first three with weights on the way."""
    runs = seeds(DELAYED, {"train.max_steps": 4000, "train.go_on": 3}, CLAIM)
    return [run.override({"train.keep_weights": run.seed < WITH_SNAPSHOTS}) for run in runs]


def isomorphism() -> list[RunConfig]:
    """Division modulo 97 without a = 0, and subtraction modulo 96, each on 10 seeds and as many splits."""
    tasks: dict[str, Changes] = {"/": {"data.p": 97, "data.skip_zero": True}, "-": {"data.p": 96}}
    longer = DELAYED.override({"train.max_steps": 4000})
    return [run for o, task in tasks.items() for run in own_splits(longer, task | {"data.operation": o}, CLAIM)]
