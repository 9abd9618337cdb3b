"""Methods that change the gradient, as their papers have them."""

import pytest
import torch
from conftest import build

from lib.config import ModelConfig, OptimConfig, RunConfig, TrainConfig
from lib.methods.make import make_methods
from lib.optim import Optimizer


def an_optimizer(model: torch.nn.Module, **options: object) -> Optimizer:
    """Plain gradient descent at rate 1, unless the options say otherwise, with the methods that they name."""
    optim = OptimConfig(**({"name": "sgd", "lr": 1.0, "weight_decay": 0, "warmup_steps": 0} | options))
    run = RunConfig(model=getattr(model, "config", ModelConfig()), optim=optim, train=TrainConfig(max_steps=10))
    optimizer = Optimizer(model, run)
    optimizer.methods = make_methods(run, model, optimizer)
    return optimizer


def test_orthogonal_gradient() -> None:
    model = torch.nn.Linear(2, 1, bias=False)
    model.weight.data = torch.tensor([[3.0, 4.0]])
    optimizer = an_optimizer(model, orthogonal=True)
    model.weight.grad = torch.tensor([[1.0, 0.0]])
    optimizer.step(0)
    torch.testing.assert_close(model.weight.grad, torch.tensor([[0.8, -0.6]]))  # at a right angle, and as long


def test_grokfast_adds_the_running_mean() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    optimizer = an_optimizer(model, grokfast=2.0, grokfast_decay=0.75)
    mean, w = None, model.weight.item()
    for step, g in enumerate([1.0, -0.5, 2.0]):
        model.weight.grad = torch.tensor([[g]])
        mean = g if mean is None else 0.75 * mean + 0.25 * g
        w -= g + 2.0 * mean
        optimizer.step(step)
        assert model.weight.item() == pytest.approx(w, rel=1e-6)


def test_an_egalitarian_gradient_has_equal_singular_values_but_small_ones() -> None:
    model = torch.nn.Linear(5, 3)
    U, V = torch.linalg.qr(torch.randn(3, 3))[0], torch.linalg.qr(torch.randn(5, 3))[0]
    optimizer = an_optimizer(model, methods="egalitarian=0.01")
    model.weight.grad = U * torch.tensor([2.0, 0.2, 1e-3]) @ V.T
    model.bias.grad = torch.tensor([5.0, 6.0, 7.0])
    optimizer.step(0)
    torch.testing.assert_close(model.weight.grad, U * torch.tensor([1.0, 1.0, 0.1]) @ V.T, rtol=1e-3, atol=1e-4)
    assert model.bias.grad.tolist() == [5, 6, 7]


def test_a_gradient_that_is_not_finite_is_left_to_the_loop() -> None:
    model = torch.nn.Linear(2, 2, bias=False)
    optimizer = an_optimizer(model, methods="egalitarian=1e-6")
    model.weight.grad = torch.full((2, 2), torch.nan)
    optimizer.step(0)


def test_a_column_normalised_gradient_has_rows_of_norm_one_but_short_ones() -> None:
    model = torch.nn.Linear(2, 3, bias=False)
    optimizer = an_optimizer(model, methods="column_norm=0.01")
    model.weight.grad = torch.tensor([[30.0, 40.0], [0.0, 0.5], [0.003, 0.004]])
    optimizer.step(0)
    torch.testing.assert_close(model.weight.grad, torch.tensor([[0.6, 0.8], [0.0, 1.0], [0.3, 0.4]]))


def test_fewer_newton_schulz_steps_are_less_orthogonal() -> None:
    spread = []
    for methods in ("newton_schulz=1", "newton_schulz=3", "newton_schulz=5", ""):
        model = build()
        optimizer = an_optimizer(model, name="muon", lr=1.0, methods=methods)
        for w in optimizer.parameters:
            w.grad = torch.randn(w.shape, generator=torch.Generator().manual_seed(0))
        before = model.blocks[0].feed_forward.up.weight.detach().clone()
        optimizer.step(0)
        values = torch.linalg.svdvals(model.blocks[0].feed_forward.up.weight.detach() - before)
        spread.append((values.max() / values.min()).item())
    assert spread[0] > spread[1] > spread[2] == spread[3]
