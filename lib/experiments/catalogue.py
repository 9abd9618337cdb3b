"""All named experiments: each a function that returns its runs' configs."""

from collections.abc import Callable

from lib.config import RunConfig
from lib.experiments import ablation as a
from lib.experiments import arithmetic as n
from lib.experiments import language as l
from lib.experiments import reliable as s
from lib.experiments import rules as r
from lib.experiments import tournament as t


def by_name(*experiments: Callable[[], list[RunConfig]]) -> dict[str, Callable[[], list[RunConfig]]]:
    return {experiment.__name__: experiment for experiment in experiments}


# fmt: off
ARITHMETIC = by_name(  # in the order of the notebooks
    n.memorize, n.memorize_masked, n.memorize_lr, n.memorize_context, n.memorize_batch,
    n.grokking, n.grokking_init, n.grokking_slow,
    n.add_sub_tuning, n.add_sub, n.add_sub_characters_tuning, n.add_sub_characters, n.add_sub_adam,
    a.ablation, a.ablation_two_layers, a.ablation_delayed, a.methods_tuning, a.methods,
    a.recipe_tuning, a.recipe_parts, a.recipe, a.recipe_splits, a.mechanism, a.isomorphism,
)
LANGUAGE = by_name(
    l.lstm_vs_gpt, l.lstm_vs_gpt_tuning, l.lstm_vs_gpt_tuned, l.lstm_vs_gpt_deeper,
    l.tinystories, l.gpt2_small, l.gpt2_challenges,
)
TOURNAMENT = by_name(  # trained by name, and not stored yet; each round chooses what the next one trains
    t.tournament_trials, t.tournament_second_trials, t.tournament, t.tournament_delayed, t.tournament_little,
    t.tournament_authors, t.tournament_predictions,
)
RULES = by_name(  # notebook 10: trained by name
    r.rules_divisors, r.rules_parity, r.rules_mirrors, r.rules_batches, r.rules_noise,
)
RELIABLE = by_name(s.reliable_tuning, s.reliable, s.other_primes, s.other_shares)  # notebook 05, trained by name
GRID = by_name(r.rules_grid)  # trained by name, and not stored yet
# fmt: on
ON_A_GPU = by_name(l.lstm_vs_gpt_paper, l.tinystories_paper, l.gpt2_medium, l.gpt2_large)  # no run is stored
STORED = ARITHMETIC | RELIABLE | RULES | LANGUAGE
EXPERIMENTS = STORED | TOURNAMENT | GRID | ON_A_GPU

BY_NAME_ONLY = ("grokking_slow", "ablation_two_layers", "mechanism", "isomorphism")  # long, or for notebook 06
# what `make FRESH=1` trains again; trials are left out, whose outcome is in the configs of the others
HOMEWORK = [name for name in ARITHMETIC if name not in BY_NAME_ONLY and not name.endswith("_tuning")]

# The runs whose weights the notebooks and the README ask. They stay folders, and .gitignore lets their weights be
# committed; of mechanism's ten only the first one's: of the others, what lib/analysis/inside.py measures of them.
WITH_WEIGHTS = {name: STORED[name]() for name in ("memorize", "memorize_masked", "memorize_context", "gpt2_small")} | {
    # the starter's network and the paper's
    "grokking": [run for run in n.grokking() if run.seed == 0 and run.optim.weight_decay == 1],
    "add_sub": [run for run in n.add_sub() if run.model.n_layers == 2 and run.seed == 0],
    "recipe": a.recipe()[:1],
    "mechanism": a.mechanism(),
    "tinystories": [run for run in l.tinystories() if run.seed == 0 and run.model == l.TINYSTORIES.model],
}
