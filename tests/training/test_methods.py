"""Grokfast and the orthogonal gradient, as their papers have them."""

import pytest
import torch

from lib.config import OptimConfig, RunConfig, TrainConfig
from lib.optim import Optimizer
from lib.training.methods import make_filters, orthogonalise


def test_orthogonal_gradient() -> None:
    w = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    w.grad = torch.tensor([1.0, 0.0])
    orthogonalise([w])
    torch.testing.assert_close(w.grad, torch.tensor([0.8, -0.6]))  # at a right angle to w, and as long as before


def test_grokfast_adds_the_running_mean() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    options = {"name": "sgd", "weight_decay": 0, "warmup_steps": 0, "grokfast": 2.0, "grokfast_decay": 0.75}
    run = RunConfig(optim=OptimConfig(lr=1.0, **options), train=TrainConfig(max_steps=10))
    optimizer = Optimizer(model, run, filters=make_filters(run.optim))
    mean, w = None, model.weight.item()
    for step, g in enumerate([1.0, -0.5, 2.0]):
        model.weight.grad = torch.tensor([[g]])
        mean = g if mean is None else 0.75 * mean + 0.25 * g
        w -= g + 2.0 * mean
        optimizer.step(step)
        assert model.weight.item() == pytest.approx(w, rel=1e-6)
