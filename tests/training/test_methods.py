"""Grokfast and the orthogonal gradient, as their papers have them."""

from copy import deepcopy

import pytest
import torch

from lib.config import OptimConfig, RunConfig, TrainConfig
from lib.optim import Optimizer
from lib.training.methods import make_filters, orthogonalise
from lib.training.muon import StackedMuon


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


def test_stacked_muon_is_that_of_torch() -> None:
    """Wide, tall and square matrices, some of one shape, one without a gradient: weights and state after 3 steps."""
    chance = torch.Generator().manual_seed(0)
    shapes = [(8, 8), (8, 20), (20, 8), (8, 8), (20, 8), (8, 12)]
    ours = [torch.nn.Parameter(torch.randn(shape, generator=chance)) for shape in shapes]
    theirs = deepcopy(ours)
    options = {"lr": 0.1, "weight_decay": 0.5, "momentum": 0.9, "adjust_lr_fn": "match_rms_adamw"}
    optimizers = StackedMuon(ours, **options), torch.optim.Muon(theirs, **options)
    for _ in range(3):
        for w, v in zip(ours[:-1], theirs[:-1], strict=True):
            w.grad = torch.randn(w.shape, generator=chance)
            v.grad = w.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0.01 * 0.1)  # a hundredth of an update: bfloat16's rounding
    mine, its = (optimizer.state_dict() for optimizer in optimizers)
    torch.testing.assert_close(mine["state"], its["state"])
    assert mine["param_groups"] == its["param_groups"]
