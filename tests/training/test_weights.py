"""Weights files: the way there and back, and all that are committed."""

import subprocess
from pathlib import Path

import pytest
import torch
from conftest import DATA, ROOT

from lib.config import RunConfig
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


def test_every_committed_checkpoint_loads_and_gives_its_recorded_accuracy() -> None:
    listed = subprocess.run(["git", "ls-files", "checkpoints"], cwd=ROOT, capture_output=True, text=True, check=True)
    files = [ROOT / name for name in listed.stdout.splitlines() if name.endswith("/model.safetensors")]
    assert {file.parent.parent.name for file in files} >= {"memorize", "memorize_masked", "grokking"}
    for file in files:
        run = Run(file.parent)
        model, _, config = run.load()
        if config.data.task == "corpus" and DATA is None:
            assert networks.n_params(model) == run.summary["n_params"]
            continue  # its text is not part of the project
        data = load_data(config)
        objective = make_objective(model, data, config.train)
        for name, split in data.splits.items():
            loss, accuracy = objective.evaluate(split)
            assert accuracy == pytest.approx(run.summary[f"{name}_acc"], abs=1e-3), file
            assert loss == pytest.approx(run.summary[f"{name}_loss"], rel=1e-2, abs=1e-6), file
