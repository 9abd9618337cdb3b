"""The tournament of notebook 05: what is said to make grokking faster or steadier, after as many trials each.

An entry has 16 settings. Two rounds of trials on the validation split choose one of them, by successive halving
(Jamieson and Talwalkar 2016, arXiv 1502.07943): all with one seed, then the best four with two new ones. The winners
meet in three arenas, on 20 seeds that nothing was tuned on, each with a split of its own. tournament.json holds what
the rounds chose; `python -m lib.analysis.tournament` writes it from the stored trials.
"""

import json
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import NoReturn

from lib.config import RunConfig
from lib.experiments import ablation
from lib.experiments.ablation import MANY, QUICK
from lib.experiments.presets import DIVISION, TRIAL, TUNING, Changes, grid, sweep, vary
from lib.support.errors import UserError

CHOICES = Path(__file__).with_name("tournament.json")
ROUNDS = ("second round", "winner")  # what is chosen of each entry: settings for the second round, and the winner
KEPT = {"second round": 4, "winner": 1}
FRESH = 8000  # the first seed of the arenas
OWN = 5  # seeds of the authors' own settings
PREDICTED = 5  # seeds of each cell of the two predictions

# the handout's two layers; followed to half as long again, to see whether it stays
HOME = DIVISION.override(QUICK | {"train.max_steps": 1000, "train.go_on": 1.5})
DELAYED = {"model.init_scale": 3, "train.max_steps": 1500, "train.go_on": 1.25}
LITTLE = {"data.train_fraction": 0.3, "train.max_steps": 2500, "train.go_on": 1.25}
# all of the train split; a step takes as long as nine of 512 equations
FULL_BATCH = {"train.batch_size": 4656, "train.max_steps": 200, "train.eval_every": 5}


def crossed(*parts: dict[str, Changes]) -> dict[str, Changes]:
    """A cell for each combination of one cell of every part."""
    made: dict[str, Changes] = {}
    for cells in product(*(part.items() for part in parts)):
        changes: Changes = {}
        for _, change in cells:
            changes |= change
        made[", ".join(name for name, _ in cells if name)] = changes
    return made


def amounts(method: str, *values: float) -> dict[str, Changes]:
    """A cell for each amount of a method."""
    return {text: {"optim.methods": text} for text in (f"{method}={value:g}" for value in values)}


def base(**fields: object) -> dict[str, Changes]:
    """What all settings of an entry share, a cell without a name."""
    return {"": {f"optim.{name}": value for name, value in fields.items()}}


ADAMW, SGD = grid((1e-3, 2e-3), (1.0, 2.0)), base(name="sgd", weight_decay=0.0)
LION = {"name": "lion", "beta2": 0.97}  # β₂ as cliptogrok has it
ENTRIES: dict[str, dict[str, Changes]] = {
    "AdamW": grid((1e-3, 2e-3, 4e-3, 8e-3), (0.5, 1.0, 2.0, 4.0)),
    "Lion": crossed(base(**LION), grid((1e-4, 3e-4, 1e-3, 3e-3), (0.0, 1.0, 3.0, 10.0))),
    "SignSGD": crossed(base(name="signsgd"), grid((1e-4, 3e-4, 1e-3, 3e-3), (0.0, 1.0, 3.0, 10.0))),
    "row clipping": crossed(
        base(**LION, weight_decay=0.0), vary("optim.lr", 3e-4, 1e-3, 2e-3, 4e-3), amounts("row_clip", 1, 1.75, 2.5, 4)
    ),
    "Muon": crossed(base(name="muon"), grid((3e-3, 1e-2, 2e-2, 4e-2), (0.3, 1.0, 2.0, 4.0))),
    "norm cap": crossed(base(name="muon"), grid((1e-2, 2e-2), (0.01, 1.0)), amounts("norm_cap", 1, 1.5, 2, 3)),
    "fewer Newton–Schulz steps": crossed(
        base(name="muon"), grid((1e-2, 2e-2), (1.0, 2.0)), amounts("newton_schulz", 1, 2, 3, 4)
    ),
    "rate of embeddings": crossed(ADAMW, amounts("embedding_rate", 0.1, 0.3, 3, 10)),
    "temperature": crossed(ADAMW, vary("model.temperature", 0.25, 0.5, 2.0, 4.0)),
    "norm clamp": crossed(
        base(weight_decay=0.0), vary("optim.lr", 1e-3, 2e-3, 4e-3, 8e-3), amounts("norm_clamp", 8, 12, 16, 24)
    ),
    "egalitarian gradient": crossed(
        SGD, vary("optim.lr", 3e-3, 1e-2, 3e-2, 0.1), amounts("egalitarian", 1e-6, 1e-4, 1e-3, 1e-2)
    ),
    "column-normalised gradient": crossed(
        SGD, vary("optim.lr", 1e-2, 3e-2, 0.1, 0.3), amounts("column_norm", 1e-4, 1e-3, 1e-2, 1e-1)
    ),
    "decay to the start": crossed(
        base(weight_decay=0.0), vary("optim.lr", 1e-3, 2e-3, 4e-3, 8e-3), amounts("to_start", 0.5, 1, 2, 4)
    ),
    "noise on updates": crossed(ADAMW, amounts("update_noise", 0.1, 0.3, 1, 3)),
    "orthogonal start": crossed(ADAMW, amounts("orthogonal_start", 0.25, 0.5, 1, 2)),
}
# judged as the others, and only at home: the fewest steps, and the fewest equations
RECORDS: dict[str, dict[str, Changes]] = {
    "full batch": crossed(
        base(name="muon"), {"": FULL_BATCH}, vary("optim.lr", 1e-2, 2e-2, 4e-2, 8e-2), amounts("norm_cap", 1, 1.5, 2, 3)
    ),
    "small batch": crossed(
        base(name="muon"), grid((5e-3, 1e-2), (1.0, 2.0)), vary("train.batch_size", 192, 256, 320, 384)
    ),
}
# until it has grokked, the network is Muon's: there is nothing to tune, and nothing to see but whether it stays
FROZEN, FREEZING = "freezing", {"optim.methods": "freeze=0.99"}

CLIPTOGROK: Changes = {  # NiftyliuS/cliptogrok, lion_clip_div_p97.py
    **{"optim.name": "lion", "optim.lr": 1e-3, "optim.beta1": 0.9, "optim.beta2": 0.97, "optim.weight_decay": 0.0},
    **{"optim.methods": "row_start=1.75, row_clip=1.75", "model.tied": False},
}
# Their Muon's rates of 0.02 and 0.03 are 0.0088 and 0.0133 of ours, whose updates of a 128 × 128 matrix are 0.2 √128
# times as large; AdamW beside it has a rate of 1e-3 there.
PONYU: Changes = {  # PeterPonyu/muon-norm-cap-grokking, run_s5_normctl.py
    **{"optim.name": "muon", "optim.lr": 8.8e-3, "optim.weight_decay": 0.01, "optim.warmup_steps": 0, **FULL_BATCH},
    "optim.methods": "norm_cap=1, embedding_rate=0.113",
}
JANATI: Changes = {  # Na00s/muon-grokking, README and train_depth_variant.py; there the trigger is test accuracy
    **{"optim.name": "muon", "optim.lr": 1.33e-2, "optim.weight_decay": 0.1, "optim.warmup_steps": 0, **FULL_BATCH},
    "optim.methods": "freeze=0.95, embedding_rate=0.075",
}
# each as near to the author's own setting as this network and this loop come
AUTHORS: dict[str, Changes] = {
    "AdamW": {},  # Power et al. 2022, A.1.2
    "Lion": {"optim.name": "lion", "optim.lr": 1e-4, "optim.beta2": 0.99, "optim.weight_decay": 10.0},  # a tenth, 10 ×
    "SignSGD": CLIPTOGROK | {"optim.name": "signsgd", "optim.methods": "row_start=2, row_clip=2"},
    "row clipping": CLIPTOGROK,
    "norm cap": PONYU,
    "freezing": JANATI,
    "rate of embeddings": {
        "optim.lr": 2e-3,
        "optim.methods": "embedding_rate=0.4",
        "optim.weight_decay": 0.5,
    },  # 2nd-hand
    "norm clamp": {"optim.methods": "norm_clamp=8.5", "optim.weight_decay": 0.0},  # Omnigrok: 0.8 × the initial norm
    "egalitarian gradient": {
        **{"optim.name": "sgd", "optim.lr": 0.7, "optim.weight_decay": 1e-4, "optim.methods": "egalitarian=1e-6"}
    },
    "column-normalised gradient": {
        **{"optim.name": "sgd", "optim.lr": 0.7, "optim.weight_decay": 1e-4, "optim.methods": "column_norm=0.01"}
    },
    "decay to the start": {"optim.weight_decay": 0.0, "optim.methods": "to_start=1"},
    "orthogonal start": {"optim.weight_decay": 0.5, "optim.warmup_steps": 50, "optim.methods": "orthogonal_start=1"},
}
# two predictions: under LayerNorm a clamped norm does nothing (arXiv 2606.13753), the temperature moves the delay
# (arXiv 2606.18465); on one layer, and the first with Muon, which learns without a norm, too
CLAMPED = ablation.DELAYED.override({"optim.name": "muon", "optim.lr": 1e-2, "optim.weight_decay": 0.0})
CLAMPS = crossed(
    {"LayerNorm": {}, "no norm": {"model.norm": "none"}}, {"free": {}} | amounts("norm_clamp", 30, 40, 50, 60)
)
TEMPERATURES = vary("model.temperature", 0.25, 0.5, 1.0, 2.0, 4.0)


def known() -> dict[str, dict[str, list[str]]]:
    """Round -> entry -> the settings that the round's trials chose."""
    return json.loads(CHOICES.read_text(encoding="utf-8"))


def winner(entry: str) -> Changes:
    """The setting with which an entry meets the others. Raises UserError if the trials have not chosen it yet."""
    if entry == FROZEN:
        return winner("Muon") | FREEZING
    [name] = known().get("winner", {}).get(entry) or not_yet(f"winner for {entry}", "tournament_second_trials")
    return (ENTRIES | RECORDS)[entry][name]


def not_yet(what: str, trials: str) -> NoReturn:
    """Raises the UserError of an experiment that has to wait for another."""
    how = f"train {trials}, and then call python -m lib.analysis.tournament"
    raise UserError(f"{CHOICES.name}: has no {what} yet; {how}")


def first_round() -> dict[str, dict[str, list[RunConfig]]]:
    """Entry -> setting -> its runs."""
    short = HOME.override({"train.max_steps": 400, "train.go_on": 1})
    return {
        entry: {name: sweep(short, [changes], 1, first=TUNING) for name, changes in settings.items()}
        for entry, settings in (ENTRIES | RECORDS).items()
    }


def second_round() -> dict[str, dict[str, list[RunConfig]]]:
    """Entry -> setting -> its runs, of the four settings that the first round chose; none before it has."""
    longer = HOME.override({"train.max_steps": 800, "train.go_on": 1})
    return {
        entry: {name: sweep(longer, [(ENTRIES | RECORDS)[entry][name]], TRIAL, first=TUNING + 1) for name in names}
        for entry, names in known().get("second round", {}).items()
    }


def arena(changes: Changes, entries: Iterable[str] = ENTRIES) -> dict[str, list[RunConfig]]:
    """Entry -> its 20 runs, each with its winner, on fresh seeds with splits of their own."""
    return {entry: with_splits(HOME.override(winner(entry) | changes), MANY) for entry in entries}


def with_splits(config: RunConfig, n: int) -> list[RunConfig]:
    return [config.override({"seed": seed, "data.split_seed": seed}) for seed in range(FRESH, FRESH + n)]


def authors() -> dict[str, list[RunConfig]]:
    """Entry -> its runs at its author's own setting."""
    longer = HOME.override({"train.max_steps": 1500, "train.go_on": 1.25})
    return {entry: with_splits(longer.override(changes), OWN) for entry, changes in AUTHORS.items()}


def all_of(cells: dict[str, list[RunConfig]]) -> list[RunConfig]:
    return [run for runs in cells.values() for run in runs]


def tournament_trials() -> list[RunConfig]:
    """First round: 16 settings of each entry, one seed, 400 steps (20 minutes on two cores)."""
    return [run for settings in first_round().values() for run in all_of(settings)]


def tournament_second_trials() -> list[RunConfig]:
    """Second round: four settings of each entry, two seeds, 800 steps (15 minutes on two cores)."""
    runs = [run for settings in second_round().values() for run in all_of(settings)]
    return runs or not_yet("second round", "tournament_trials")


def tournament() -> list[RunConfig]:
    """At home: each entry's winner on 20 seeds and splits, half as long again (35 minutes on two cores)."""
    return all_of(arena({}, [*ENTRIES, FROZEN, *RECORDS]))


def tournament_delayed() -> list[RunConfig]:
    """The same after a delayed start, three times the initial weights (40 minutes on two cores)."""
    return all_of(arena(DELAYED))


def tournament_little() -> list[RunConfig]:
    """The same on 30 % of the data (65 minutes on two cores)."""
    return all_of(arena(LITTLE))


def tournament_authors() -> list[RunConfig]:
    """Each at its author's own setting, 5 seeds and splits (15 minutes on two cores)."""
    return all_of(authors())


def tournament_predictions() -> list[RunConfig]:
    """Norms held, with LayerNorm and without; logits with a temperature; 5 seeds each (10 minutes on two cores)."""
    return sweep(CLAMPED, CLAMPS.values(), PREDICTED) + sweep(ablation.DELAYED, TEMPERATURES.values(), PREDICTED)
