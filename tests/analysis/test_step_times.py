"""Step times: what notebooks and report tell of was timed, and not taken from what runs recorded."""

import pytest

from lib.analysis import step_times
from lib.experiments.ablation import RECIPE, TWO_LAYERS
from lib.experiments.catalogue import STORED
from lib.experiments.reliable import SURE


@pytest.mark.parametrize("name", ["lstm_vs_gpt", "lstm_vs_gpt_tuned", "lstm_vs_gpt_deeper", "tinystories"])
def test_every_step_that_is_told_of_was_timed(name: str) -> None:
    kinds = {step_times.kind(config) for config in (*STORED[name](), RECIPE, TWO_LAYERS, SURE)}
    assert kinds <= step_times.recorded().keys()


def test_what_a_step_computes_makes_its_kind() -> None:
    same = {"seed": 7, "optim.lr": 0.5, "optim.warmup_steps": 3, "train.max_steps": 20, "data.split_seed": 9}
    assert step_times.kind(RECIPE.override(same)) == step_times.kind(RECIPE)
    for other in ({"train.batch_size": 64}, {"model.n_layers": 1}, {"optim.name": "adamw"}, {"data.p": 31}):
        assert step_times.kind(RECIPE.override(other)) != step_times.kind(RECIPE)
