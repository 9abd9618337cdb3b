"""Methods that act on the weights, as their sources have them."""

import pytest
import torch
from conftest import build
from torch import Tensor

from lib.config import OptimConfig, RunConfig, TrainConfig
from lib.methods.make import make_methods
from lib.model import Transformer
from lib.objective import Row
from lib.optim import Optimizer, total_norm

ROWS: list[Row] = []


def stepped(methods: str, n: int = 1, rows: list[Row] = ROWS, **options: object) -> tuple[Transformer, list[Tensor]]:
    """A network after n steps of AdamW with some methods, and the weights that it began with."""
    model = build(**options.pop("model", {}))
    optim = OptimConfig(**({"lr": 0.1, "weight_decay": 0, "warmup_steps": 0, "methods": methods} | options))
    run = RunConfig(model=model.config, optim=optim, train=TrainConfig(max_steps=10))
    optimizer = Optimizer(model, run)
    optimizer.methods = make_methods(run, model, optimizer, lambda: rows)
    first = [w.detach().clone() for w in optimizer.parameters]
    gradients = torch.Generator().manual_seed(1)
    for step in range(n):
        for w in optimizer.parameters:
            w.grad = torch.randn(w.shape, generator=gradients)
        optimizer.step(step)
    return model, first


def weights_of(model: Transformer) -> dict[str, Tensor]:
    return {name: w.detach() for name, w in model.named_parameters()}


def is_edge(name: str) -> bool:
    return name.startswith(("embed.", "unembed."))


@pytest.mark.parametrize("tied", [True, False])
def test_rows_begin_at_a_norm_and_are_never_longer(tied: bool) -> None:
    untied = {"model": {"tied": tied}}
    start, _ = stepped("row_start=1.75", n=0, **untied)
    for name, w in weights_of(start).items():
        norms = w.norm(dim=-1)
        assert torch.all((norms - 1.75).abs() < 1e-5) or (name.endswith("bias") and norms == 0)
    clipped, _ = stepped("row_start=1.75, row_clip=1.75", n=3, **untied)
    for name, w in weights_of(clipped).items():
        assert (w.norm(dim=-1).max() > 1.76) == is_edge(name), name
    short, _ = stepped("row_clip=1e3", n=3)
    plain, _ = stepped("", n=3)
    torch.testing.assert_close(weights_of(short), weights_of(plain), rtol=0, atol=0)  # rows below the bound


def test_orthogonal_matrices_at_the_start() -> None:
    model, _ = stepped("orthogonal_start=0.5", n=0, model={"init_scale": 3})
    for name, w in weights_of(model).items():
        if w.ndim >= 2:
            torch.testing.assert_close(torch.linalg.svdvals(w), torch.full((min(w.shape),), 1.5), msg=name)


@pytest.mark.parametrize("rate", [0.25, 4.0])
def test_a_rate_of_its_own_for_embeddings(rate: float) -> None:
    """What AdamW does at that rate, decay included; the other weights are as without."""
    decay = {"weight_decay": 0.5, "model": {"tied": False}}
    model, _ = stepped(f"embedding_rate={rate}", n=1, **decay)
    other, _ = stepped("", n=1, lr=0.1 * rate, **decay)
    plain, _ = stepped("", n=1, **decay)
    for name, w in weights_of(model).items():
        its = other if is_edge(name) or name.startswith("position.") else plain
        torch.testing.assert_close(w, weights_of(its)[name], rtol=1e-5, atol=1e-6)


def test_decay_towards_the_initial_weights() -> None:
    """Without gradients what has been moved comes back; vectors do so only if they decay."""
    for decay, moved in (("matrices", 1.0), ("all", 1 - 0.1 * 2)):
        model = build()
        run = RunConfig(optim=OptimConfig(lr=0.1, weight_decay=0, warmup_steps=0, methods="to_start=2", decay=decay))
        optimizer = Optimizer(model, run)
        optimizer.methods = make_methods(run, model, optimizer)
        first = [w.detach().clone() for w in optimizer.parameters]
        for w in optimizer.parameters:
            w.data += 1
        optimizer.step(0)
        for w, was in zip(optimizer.parameters, first, strict=True):
            torch.testing.assert_close(w.detach() - was, torch.full_like(w, 1 - 0.1 * 2 if w.ndim >= 2 else moved))


def test_noise_on_the_update_is_normal_and_scales_with_the_rate() -> None:
    torch.manual_seed(0)
    model, _ = stepped("update_noise=3", lr=0.01)
    plain, _ = stepped("", lr=0.01)
    pairs = zip(model.parameters(), plain.parameters(), strict=True)
    noise = torch.cat([(w - v).flatten() for w, v in pairs]).detach()
    assert noise.std().item() == pytest.approx(0.03, rel=0.05) and abs(noise.mean()) < 0.003


def test_a_cap_bounds_the_hidden_matrices_at_a_multiple_of_their_initial_norm_and_never_lengthens() -> None:
    model, first = stepped("norm_cap=1.5", n=5)
    grown = 0
    for (name, w), was in zip(weights_of(model).items(), first, strict=True):
        if name.startswith("blocks.") and w.ndim == 2:
            assert w.norm() <= 1.5 * was.norm() * (1 + 1e-5), name
            grown += bool(w.norm() > 1.4 * was.norm())
    assert grown
    decayed, _ = stepped("norm_cap=1.5", n=5, lr=0.01, weight_decay=30.0)
    plain, _ = stepped("", n=5, lr=0.01, weight_decay=30.0)
    torch.testing.assert_close(weights_of(decayed), weights_of(plain), rtol=0, atol=0)


def test_a_clamp_holds_all_matrices_at_a_norm() -> None:
    model, _ = stepped("norm_clamp=7.5", n=2)
    assert total_norm([w for w in model.parameters() if w.ndim >= 2]).item() == pytest.approx(7.5, rel=1e-5)


@pytest.mark.parametrize(
    ("accuracies", "frozen"),
    [([1.0, 1.0], False), ([0.96, 0.94, 1.0, 0.97], False), ([0.95, 0.96, 0.97], True), ([1.0, 1.0, 1.0, 0.1], True)],
)
def test_embeddings_stay_once_three_validations_in_a_row_have_passed(accuracies: list[float], frozen: bool) -> None:
    """And whatever the test split says, of which a run must not learn."""
    rows = [{"step": 10.0 * i, "val_acc": value, "test_acc": 1 - value} for i, value in enumerate(accuracies)]
    model, first = stepped("freeze=0.95, update_noise=1", rows=rows, weight_decay=1.0, model={"tied": False})
    for (name, w), was in zip(weights_of(model).items(), first, strict=True):
        kept = frozen and (is_edge(name) or name.startswith("position."))
        assert torch.equal(w, was) == kept, name
