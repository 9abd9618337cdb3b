"""The named experiments: their configs, seeds and sizes, and that every run of them is stored."""

import subprocess
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import ROOT

from lib.analysis import cells as sweeps
from lib.config import RunConfig
from lib.experiments import ablation, arithmetic, language
from lib.experiments.ablation import BASELINE, CLAIM, CLAIMS, DELAYED, FACTORS, MANY, SEEDS
from lib.experiments.catalogue import EXPERIMENTS, LANGUAGE, ON_A_GPU, STORED
from lib.experiments.presets import GPT1, GPT2_LARGE, GPT2_MEDIUM
from lib.language import corpora, networks
from lib.runs.archive import open_archive
from lib.runs.stored import find, stored


def test_every_experiment_gives_distinct_valid_configs() -> None:
    for make in STORED.values():
        configs = make()
        assert configs and len({config.id for config in configs}) == len(configs)
        assert make.__doc__


@pytest.mark.parametrize("baseline", [BASELINE, ablation.TWO_LAYERS], ids=["one layer", "two layers"])
def test_cells_have_the_promised_seeds(baseline: RunConfig) -> None:
    for name, cells in FACTORS.items():
        configs = [ablation.ablation_cell(changes, baseline) for changes in cells.values()]
        assert sum(runs[0] == baseline for runs in configs) == 1, name
        for changes, runs in zip(cells.values(), configs, strict=True):
            expected = MANY if runs[0] == baseline else CLAIM if changes in CLAIMS else SEEDS
            assert len(set(runs)) == expected and SEEDS >= 5 and CLAIM >= 10 and MANY >= 20, (name, changes)
    assert len(FACTORS["train fraction"]) >= 8
    tried = {run.seed for name, make in STORED.items() if name != "recipe" for run in make()}
    assert len(ablation.recipe()) == MANY and not tried & {run.seed for run in ablation.recipe()}


def test_stored_sweeps_are_complete() -> None:
    """Every run of every experiment is committed, so that `make` trains nothing."""
    for name, make in STORED.items():
        missing = [config.id for config in make() if find(name, config) is None]
        assert not missing, f"{name}: {missing}"


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a git checkout")
def test_nothing_else_is_committed() -> None:
    listing = subprocess.run(["git", "ls-files", "checkpoints"], cwd=ROOT, capture_output=True, text=True, check=True)
    for path in {"/".join(file.split("/")[1:3]) for file in listing.stdout.splitlines()} - {"gpu/gpu.csv"}:
        name, _, run = path.removesuffix(".zip").partition("/")
        inside = [] if run else open_archive(ROOT / "checkpoints" / path).root.namelist()
        stored = [run] if run else [entry.partition("/")[0] for entry in inside]
        assert set(stored) <= {config.id for config in STORED[name]()}, path


VOCABULARIES = {"gpt1": 40_479, "gpt2": 50_257}


def size(config: RunConfig) -> int:
    with torch.device("meta"):  # shapes alone
        vocab_size = VOCABULARIES.get(config.data.tokenizer, config.data.vocab_size)
        return networks.n_params(networks.make(config.model, vocab_size))


@pytest.mark.parametrize("name", LANGUAGE | ON_A_GPU)
def test_every_language_experiment_can_be_made(name: str) -> None:
    configs = EXPERIMENTS[name]()
    assert configs and len({config.id for config in configs}) == len(configs)
    assert EXPERIMENTS[name].__doc__ and len({config.data.corpus for config in configs}) == 1
    for config in configs:
        assert config.data.task == "corpus" and config.data.window <= config.model.context_length
        assert config.data.corpus in corpora.CORPORA
    assert all(size(replace(configs[0], model=model)) > 0 for model in {config.model for config in configs})


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("lstm_vs_gpt_paper", [34_107_392] * 4 + [38_372_352] * 4 + [36_208_640, 40_411_136, 45_460_224, 59_635_968]),
        ("tinystories_paper", [76_635_648, 76_635_648, 68_244_992, 86_072_832, 76_635_648]),
    ],
)
def test_the_assignments_sizes_are_exact(name: str, sizes: list[int]) -> None:
    assert [size(config) for config in EXPERIMENTS[name]()] == sizes


VOCAB_GPT1, VOCAB_GPT2 = 40_479, 50_257


def sizes(changes: dict, vocab_size: int) -> tuple[int, int]:
    with torch.device("meta"):  # shapes alone
        network = networks.make(RunConfig().override(changes).model, vocab_size)
    return networks.n_params(network), networks.n_params(network, learnable=True)


@pytest.mark.parametrize(
    ("n_layers", "total", "learnable"),
    [(1, 34_107_392, 3_019_520), (2, 36_208_640, 5_120_768), (4, 40_411_136, 9_323_264)],
)
def test_lstm_sizes(n_layers: int, total: int, learnable: int) -> None:
    changes = {"model.kind": "lstm", "model.d_model": 768, "model.d_hidden": 512, "model.frozen_embeddings": True}
    assert sizes(changes | {"model.n_layers": n_layers}, VOCAB_GPT1) == (total, learnable)


@pytest.mark.parametrize(("n_layers", "total"), [(1, 38_372_352), (2, 45_460_224), (4, 59_635_968)])
def test_gpt1_sizes(n_layers: int, total: int) -> None:
    changes = GPT1 | {"model.n_layers": n_layers, "model.context_length": 256, "model.frozen_embeddings": True}
    assert sizes(changes, VOCAB_GPT1) == (total, n_layers * 7_087_872)


@pytest.mark.parametrize(("preset", "millions"), [(GPT2_MEDIUM, 406.2), (GPT2_LARGE, 838.2)])
def test_gpt2_sizes(preset: dict, millions: float) -> None:
    total, learnable = sizes(preset, VOCAB_GPT2)
    assert total == learnable and round(total / 1e6, 1) == millions


def test_the_gpt2_that_is_to_be_like_gpt2_has_its_gelu_and_stored_runs_keep_theirs() -> None:
    assert {run.model.activation for run in (*language.gpt2_medium(), *language.gpt2_large())} == {"gelu_tanh"}
    assert {run.model.activation for run in (*language.gpt2_small(), *language.gpt2_challenges())} == {"gelu"}


def median_of_trials(solved: list[int | None]) -> float:
    return float(np.median([np.inf if step is None else step for step in solved]))


def test_what_is_reported_was_the_best_of_its_trials() -> None:
    told = sweeps.trials([stored("methods_tuning", config) for config in ablation.methods_tuning()])
    for name, (method, settings) in ablation.METHODS.items():
        medians = {cell: median_of_trials(told.pop(0)["solved"]) for cell in settings}
        best = DELAYED.override(method | settings[ablation.BEST[name]])
        assert medians[ablation.BEST[name]] == min(medians.values()), name
        assert {run.override({"seed": 0}) for run in ablation.methods()} >= {best}
    for tuning, used in (("recipe_tuning", ablation.RECIPE), ("add_sub_characters_tuning", arithmetic.DIGITS)):
        told = sweeps.trials([stored(tuning, config) for config in STORED[tuning]()])
        best = min(told, key=lambda trial: (median_of_trials(trial["solved"]), -min(trial["val_acc"])))
        assert best["setting"].items() <= {name.partition(".")[2]: x for name, x in used.flat().items()}.items()
    for used in ("methods", "recipe", "add_sub", "add_sub_characters"):
        tuning = f"{used}_tuning"
        seeds = [{run.seed for run in STORED[name]()} for name in (tuning, used)]
        assert not seeds[0] & seeds[1], "tuned on a seed that is reported"
