"""All named experiments: each a function that returns its runs' configs."""

from collections.abc import Callable

from lib.config import RunConfig
from lib.experiments import ablation, arithmetic, language


def by_name(*experiments: Callable[[], list[RunConfig]]) -> dict[str, Callable[[], list[RunConfig]]]:
    return {experiment.__name__: experiment for experiment in experiments}


ARITHMETIC = by_name(
    arithmetic.memorize,
    arithmetic.memorize_masked,
    arithmetic.memorize_lr,
    arithmetic.memorize_context,
    arithmetic.memorize_batch,
    arithmetic.grokking,
    arithmetic.grokking_init,
    arithmetic.grokking_slow,
    arithmetic.add_sub_tuning,
    arithmetic.add_sub,
    arithmetic.add_sub_characters_tuning,
    arithmetic.add_sub_characters,
    arithmetic.add_sub_adam,
    ablation.ablation,
    ablation.ablation_two_layers,
    ablation.ablation_delayed,
    ablation.methods_tuning,
    ablation.methods,
    ablation.recipe_tuning,
    ablation.recipe_parts,
    ablation.recipe,
    ablation.recipe_splits,
    ablation.mechanism,
    ablation.isomorphism,
)
LANGUAGE = by_name(
    language.lstm_vs_gpt,
    language.lstm_vs_gpt_tuning,
    language.lstm_vs_gpt_tuned,
    language.lstm_vs_gpt_deeper,
    language.tinystories,
    language.gpt2_small,
    language.gpt2_challenges,
)
ON_A_GPU = by_name(  # the assignments' own sizes, of which no run is stored
    language.lstm_vs_gpt_paper, language.tinystories_paper, language.gpt2_medium, language.gpt2_large
)
STORED = ARITHMETIC | LANGUAGE
EXPERIMENTS = STORED | ON_A_GPU

BY_NAME_ONLY = ("grokking_slow", "ablation_two_layers", "mechanism", "isomorphism")  # long, or for notebook 06
# what `make FRESH=1` trains again: not the trials either, whose outcome is in the configs of the others
HOMEWORK = [name for name in ARITHMETIC if name not in BY_NAME_ONLY and not name.endswith("_tuning")]

# The runs whose weights the notebooks and the README ask. They stay folders, and .gitignore lets their weights be
# committed; of mechanism's ten only the first one's: of the others, what lib/analysis/inside.py measures of them.
WITH_WEIGHTS = {name: STORED[name]() for name in ("memorize", "memorize_masked", "memorize_context", "gpt2_small")} | {
    "grokking": arithmetic.grokking()[:1],
    "add_sub": [run for run in arithmetic.add_sub() if run.model.n_layers == 2 and run.seed == 0],
    "recipe": ablation.recipe()[:1],
    "mechanism": ablation.mechanism(),
    "tinystories": [run for run in language.tinystories() if run.seed == 0 and run.model == language.TINYSTORIES.model],
}
