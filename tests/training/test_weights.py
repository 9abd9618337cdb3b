"""Weights files: the way there and back, and all that are committed."""

import subprocess
from pathlib import Path

import pytest
import torch
from conftest import DATA, ROOT

from lib.config import RunConfig
from lib.experiments.catalogue import WITH_WEIGHTS
from lib.language import networks
from lib.runs.run import Run
from lib.training.datasets import load_data
from lib.training.folder import WEIGHTS
from lib.training.trainer import Trainer, make_objective
from lib.training.weights import load_weights, save_weights


def test_weights_survive_the_round_trip(tiny: RunConfig, tmp_path: Path) -> None:
    trainer = Trainer(tiny, load_data(tiny), tmp_path)
    save_weights(tmp_path / WEIGHTS, trainer.model, tiny, trainer.data.tokenizer, 0)
    model, tokenizer, config = load_weights(tmp_path)
    assert config == tiny and tokenizer == trainer.data.tokenizer
    tokens = trainer.data.splits["train"].tokens
    assert torch.equal(model(tokens), trainer.model.eval()(tokens))


def committed() -> list[Path]:
    """The folders of the runs whose weights are committed."""
    call = subprocess.run(["git", "ls-files", "checkpoints"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / Path(name).parent for name in call.stdout.splitlines() if name.endswith("/model.safetensors")]


def test_the_weights_that_the_notebooks_ask_for_are_committed() -> None:
    asked = {(name, config.id) for name, configs in WITH_WEIGHTS.items() for config in configs}
    kept = {(folder.parent.name, folder.name) for folder in committed()}
    assert {name for name, _ in kept} == set(WITH_WEIGHTS) and kept <= asked
    assert {run for run in asked - kept if run[0] != "mechanism"} == set(), "of mechanism's ten the first alone"


@pytest.mark.parametrize("folder", committed(), ids=lambda folder: f"{folder.parent.name} {folder.name}")
def test_committed_weights_load_and_give_the_recorded_numbers(folder: Path) -> None:
    run = Run(folder)
    model, _, config = run.load()
    if config.data.task == "corpus" and DATA is None:
        assert networks.n_params(model) == run.summary["n_params"]
        return  # its text is not part of the project
    data = load_data(config)
    objective = make_objective(model, data, config.train)
    for name in ("val",) if config.data.task == "corpus" else data.splits:  # seconds less
        loss, accuracy = objective.evaluate(data.splits[name])
        assert accuracy == pytest.approx(run.summary[f"{name}_acc"], abs=1e-3)
        assert loss == pytest.approx(run.summary[f"{name}_loss"], rel=1e-2, abs=1e-6)
