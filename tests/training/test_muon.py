"""Muon with matrices of one shape orthogonalised together."""

from copy import deepcopy

import torch

from lib.training.muon import StackedMuon


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
