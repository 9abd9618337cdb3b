"""The account of a step's memory, against what the allocator did in the same step with real tensors."""

import pytest
import torch

from lib.analysis.memory import KEPT, budget, measured
from lib.config import RunConfig
from lib.experiments.presets import GPT2_LARGE, GPT2_MEDIUM
from lib.language import networks
from lib.support.errors import UserError
from lib.support.machine import peak_memory_mb

V, V_GPT2 = 1000, 50_257
# each batch in two parts, of which the account is to be of one
SMALL = RunConfig().override({"data.window": 32, "train.batch_size": 8, "train.accumulation": 2, "model.d_hidden": 64})
RNG_STATE = 5056  # what a checkpoint keeps besides, outside all operations: the state of the CPU's random numbers
WHOLE, BF16 = {"train.whole_logits": True}, {"train.precision": "bfloat16"}
CHECKPOINTS, LSTM = {"train.activation_checkpointing": True}, {"model.kind": "lstm"}
CASES = {
    "pre": {},
    "pre, whole": WHOLE,
    "post, whole": WHOLE | {"model.norm_placement": "post"},
    "dropout": {"model.dropout": 0.1},
    "rope, swiglu": {"model.positions": "rope", "model.norm": "rmsnorm", "model.activation": "swiglu"},
    "bfloat16": BF16,
    "bfloat16, whole": BF16 | WHOLE,
    "checkpoints": CHECKPOINTS,
    "checkpoints, bfloat16": CHECKPOINTS | BF16,
    "lstm": LSTM,
    "lstm, bfloat16": LSTM | BF16,
    "lstm, dropout, whole": LSTM | WHOLE | {"model.dropout": 0.1},
    "lstm, frozen, long": LSTM | {"model.frozen_embeddings": True, "data.window": 200, "model.context_length": 200},
}


@pytest.mark.parametrize("changes", CASES.values(), ids=CASES)
def test_what_is_kept_is_what_the_allocator_says(changes: dict) -> None:
    config = SMALL.override(changes)
    account = budget(config, V)
    kept, _ = measured(config, V)
    if config.train.activation_checkpointing:
        kept -= config.model.n_layers * RNG_STATE
    counted = sum(account[kind] for kind in KEPT)
    assert counted == kept if config.data.window == 32 else counted == pytest.approx(kept, rel=0.01)


@pytest.mark.parametrize("changes", [WHOLE, WHOLE | BF16, CHECKPOINTS], ids=["whole", "bfloat16", "checkpoints"])
def test_the_peak_is_what_the_allocator_says(changes: dict) -> None:
    for n_parts in (1, 2):
        config = SMALL.override(changes | {"train.batch_size": 32, "train.accumulation": n_parts})
        account = budget(config, V)
        before = account["parameters"] + account["optimizer"] + account["gradients"] * (n_parts > 1)
        assert account["peak"] - before == pytest.approx(measured(config, V)[1], rel=0.05)


@pytest.mark.parametrize(
    ("name", "matrices", "others"), [("adam", 2, 2), ("adamw", 2, 2), ("muon", 1, 2), ("momentum", 1, 1), ("sgd", 0, 0)]
)
def test_the_optimizers_state(name: str, matrices: int, others: int) -> None:
    """float32 numbers per learnable parameter, of the blocks' matrices and of the others, and Adam's step counters."""
    config = SMALL.override({"optim.name": name, "model.frozen_embeddings": True, "model.tied": False})
    account = budget(config, V)
    network = networks.make(config.model, V)
    learned = {key: p for key, p in network.named_parameters() if p.requires_grad}
    inside = {key for key, p in learned.items() if p.ndim == 2 and key.startswith("blocks.")}
    n_inside, n = sum(learned[key].numel() for key in inside), sum(p.numel() for p in learned.values())
    counters = {"adam": len(learned), "adamw": len(learned), "muon": len(learned) - len(inside)}.get(name, 0)
    assert account["parameters"] == 4 * networks.n_params(network) > account["gradients"] == 4 * n
    assert account["optimizer"] == 4 * (matrices * n_inside + others * (n - n_inside) + counters)


def test_grokfast_keeps_a_running_mean_of_each_gradient_and_float16_no_more_than_its_casts() -> None:
    account = budget(SMALL, V)
    slow = budget(SMALL.override({"optim.grokfast": 1.0, "train.precision": "float16"}), V)
    assert slow["optimizer"] == account["optimizer"] + account["gradients"]
    assert slow["weight casts"] == budget(SMALL.override(BF16), V)["weight casts"]


@pytest.mark.parametrize(
    ("preset", "rows", "millions", "gigabytes"), [(GPT2_MEDIUM, 4, 406.2, 6.5), (GPT2_LARGE, 2, 838.2, 13.4)]
)
def test_gpt2_is_accounted_for_without_allocating_it(
    preset: dict, rows: int, millions: float, gigabytes: float
) -> None:
    window = {"data.window": 1024, "train.batch_size": rows}
    memory, random = peak_memory_mb("cpu"), torch.get_rng_state()
    account = budget(RunConfig().override(preset | window | BF16 | WHOLE), V_GPT2)
    assert peak_memory_mb("cpu") - memory < 500 and torch.equal(random, torch.get_rng_state())
    assert round(account["parameters"] / 4e6, 1) == millions and account["gradients"] == account["parameters"]
    state = sum(account[kind] for kind in ("parameters", "gradients", "optimizer"))
    assert state == pytest.approx(4 * account["parameters"], rel=1e-5) and round(state / 1e9, 1) == gigabytes
    assert account["logits"] == pytest.approx(rows * 1024 * V_GPT2 * 4, rel=1e-6), "one copy, and the loss"
    layers, width = preset["model.n_layers"], preset["model.d_model"]
    assert account["weight casts"] == 2 * layers * 12 * width**2, "all matrices of the blocks, in two bytes"


@pytest.mark.parametrize("rows", [2, 4, 16])
def test_mixed_precision_saves_activations_and_spends_casts(rows: int) -> None:
    """Of N tokens, per layer: 12 numbers of D each are shorter by two bytes, and 12 D^2 weights kept again in two."""
    config = SMALL.override(WHOLE | {"train.batch_size": rows, "train.accumulation": 1})
    single, mixed = budget(config, V), budget(config.override(BF16), V)
    saved = sum(single[kind] - mixed[kind] for kind in KEPT)
    L, D, N = config.model.n_layers, config.model.d_model, rows * config.data.window
    assert saved == 2 * L * 12 * D * (N - D), "so nothing at all where there are as many tokens as dimensions"


def test_windows_must_be_there_and_fit() -> None:
    for window in (0, 33):
        with pytest.raises(UserError, match=rf"data\.window = {window}: must be from 1 to model\.context_length = 32"):
            budget(SMALL.override({"data.window": window}), V)
