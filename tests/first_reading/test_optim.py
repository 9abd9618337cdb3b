"""Optimisers, their schedule and clipping."""

import pytest
import torch
import torch.nn.functional as F
from conftest import build

from lib.config import ModelConfig, OptimConfig, RunConfig, TrainConfig
from lib.methods import lion
from lib.methods.make import make_methods
from lib.model import Transformer
from lib.optim import Optimizer


def made(model: torch.nn.Module, max_steps: int, **options: object) -> Optimizer:
    run = RunConfig(optim=OptimConfig(**options), train=TrainConfig(max_steps=max_steps))
    return Optimizer(model, run, make=lion.make)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "momentum", "muon", "lion", "signsgd"])
def test_optimisers_lower_the_loss_and_decay_only_matrices(name: str, tokens: torch.Tensor) -> None:
    model = build()
    optimizer = made(model, 40, name=name, lr=0.01, weight_decay=0.1, warmup_steps=3)
    decayed = {id(p): g["weight_decay"] for part in optimizer.parts for g in part.param_groups for p in g["params"]}
    for parameter in model.parameters():
        assert decayed[id(parameter)] == (0.1 if parameter.ndim >= 2 else 0.0)
    losses = []
    for step in range(40):
        loss = F.cross_entropy(model(tokens)[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step(step)
    assert losses[-1] < losses[0] - 0.01


def test_schedule_and_clipping() -> None:
    model = build()
    cosine = made(model, 110, lr=1.0, warmup_steps=10, schedule="cosine", clip=0.5)
    assert [cosine.lr(step) for step in (0, 4, 9, 10)] == [0.1, 0.5, 1.0, 1.0]
    assert cosine.lr(60) == pytest.approx(0.5) and cosine.lr(109) < 0.001
    floor = made(model, 1000, lr=1.0, schedule="cosine", fall_steps=110, final_lr=0.2)
    assert [floor.lr(step) for step in (10, 60, 110, 900)] == pytest.approx([1.0, 0.6, 0.2, 0.2])
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    cosine.step(0)
    assert cosine.grad_norm().item() == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize("name", ["muon", "lion"])
def test_an_overflow_of_float16_in_one_gradient_skips_all_parts_and_every_methods_memory(name: str) -> None:
    methods = "embedding_rate=2, to_start=1, update_noise=1, row_clip=0.01, norm_cap=0.5, norm_clamp=2, freeze=0.5"
    run = RunConfig(
        model=ModelConfig(n_layers=1, n_heads=1, d_model=8, d_ff=16, context_length=4),
        optim=OptimConfig(name=name, grokfast=2.0, clip=1.0, warmup_steps=0, methods=methods),
        train=TrainConfig(precision="float16"),
    )
    model = Transformer(run.model, vocab_size=11)
    optimizer = Optimizer(model, run, make=lion.make)
    rows = [{"step": float(step), "val_acc": 1.0} for step in range(3)]
    optimizer.methods = make_methods(run, model, optimizer, lambda: rows)
    memory = [list(method.memory) for method in optimizer.methods]
    before = [p.detach().clone() for p in optimizer.parameters]
    for index in (0, len(before) - 1):  # one part of Muon's, one of AdamW's
        scale = optimizer.scaler.get_scale()
        optimizer.zero_grad()
        optimizer.backward(model(torch.arange(4)[None]).square().mean())
        optimizer.parameters[index].grad.view(-1)[0] = torch.inf
        optimizer.unscale()
        optimizer.step(0)
        assert all(torch.equal(p, was) for p, was in zip(optimizer.parameters, before, strict=True))
        assert [method.memory for method in optimizer.methods] == memory and not memory[0]
        assert optimizer.scaler.get_scale() == scale / 2
    optimizer.zero_grad()
    optimizer.backward(model(torch.arange(4)[None]).square().mean())
    optimizer.unscale()
    optimizer.step(0)
    kept = [model.embed.weight, model.position.weight]  # frozen
    for p, was in zip(optimizer.parameters, before, strict=True):
        assert torch.equal(p, was) == any(p is one for one in kept)
    assert all(mean.isfinite().all() for mean in optimizer.methods[0].memory)
