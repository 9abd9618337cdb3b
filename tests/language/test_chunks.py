"""The loss of a corpus in chunks, against whole logits."""

import pytest
import torch
import torch.nn.functional as F
from conftest import SMALL_NETWORK, a_batch
from torch import nn

from lib.config import ModelConfig, TrainConfig
from lib.data import Batch
from lib.language import chunks, networks
from lib.language.chunks import CorpusObjective, evaluate_tokens
from lib.language.corpora import Windows

NETWORKS = [
    {"tied": True},
    {"tied": False, "norm": "rmsnorm", "norm_placement": "post"},
    {"output": "stablemax"},
    {"kind": "lstm"},
    {"kind": "lstm", "output": "stablemax"},
]


def a_network(changes: dict[str, object], vocab_size: int = 40) -> nn.Module:
    """With weights large enough for predictions to differ."""
    torch.manual_seed(0)
    return networks.make(ModelConfig(**SMALL_NETWORK | {"init_scale": 10.0} | changes), vocab_size)


def loss_and_gradients(network: nn.Module, batch: Batch, **options: object) -> list[torch.Tensor]:
    network.zero_grad()
    loss = CorpusObjective(network, "all", TrainConfig(**options))(batch)
    loss.backward()
    return [loss.detach(), *(p.grad.clone() for p in network.parameters())]


@pytest.mark.parametrize("by_torch", [True, False], ids=["torch's function", "chunk by chunk"])
@pytest.mark.parametrize("changes", NETWORKS, ids=str)
def test_the_loss_in_chunks_is_that_of_whole_logits(
    changes: dict, by_torch: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by_torch and not hasattr(torch.nn, "LinearCrossEntropyOptions"):
        pytest.skip("this torch does not have the function")
    if not by_torch:
        monkeypatch.delattr(torch.nn, "LinearCrossEntropyOptions", raising=False)
    monkeypatch.setattr(chunks, "CHUNK_LOGITS", 40 * 7)  # 40 tokens: five chunks of 7, one of 5
    network, batch = a_network(changes), a_batch(40)
    in_chunks, whole = (loss_and_gradients(network, batch, whole_logits=whole) for whole in (False, True))
    torch.testing.assert_close(in_chunks, whole, rtol=1e-5, atol=1e-5)
    by_hand = F.cross_entropy(network(batch.tokens).flatten(0, 1), batch.targets.flatten())
    torch.testing.assert_close(in_chunks[0], by_hand.detach())


@pytest.mark.parametrize("kind", ["transformer", "lstm"])
def test_in_sixteen_bits_the_loss_in_chunks_is_float32s_of_the_same_states(kind: str) -> None:
    """With more tokens than the width and more words than it, where torch's function works in chunks indeed."""
    torch.manual_seed(0)
    config = ModelConfig(kind=kind, d_model=16, n_heads=2, d_ff=32, d_hidden=16, n_layers=1, context_length=64)
    network, ids = networks.make(config, 500), torch.randint(500, (8, 65))
    batch = Batch(ids[:, :-1], ids[:, 1:], None)
    losses = []
    for whole in (False, True):
        objective = CorpusObjective(network, "all", TrainConfig(precision="bfloat16", whole_logits=whole))
        network.zero_grad()
        loss = objective(batch)
        assert loss.dtype == torch.float32
        loss.backward()
        losses.append([loss.detach(), *(p.grad.clone() for p in network.parameters())])
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["transformer", "lstm"])
def test_stablemax_is_of_any_network(kind: str) -> None:
    plain, stable = (
        a_network({"kind": kind, "output": output})(a_batch(40).tokens) for output in ("softmax", "stablemax")
    )
    torch.testing.assert_close(stable, plain.sign() * plain.abs().log1p())


@pytest.mark.parametrize("changes", [*NETWORKS, {"dropout": 0.5}], ids=str)
def test_a_split_is_scored_as_token_by_token(changes: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_LOGITS", 40 * 7)
    monkeypatch.setattr(chunks, "EVAL_TOKENS", 24)
    network = a_network(changes).train()
    windows = Windows(a_batch(40).tokens.flatten().numpy(), 6, 4)
    loss, accuracy = evaluate_tokens(network, windows)
    assert network.training
    network.eval()
    [everything] = windows.parts(10**6)
    log_p = network(everything.tokens).log_softmax(-1)
    nll = -log_p.gather(2, everything.targets[..., None])
    assert loss == pytest.approx(nll.mean().item(), rel=1e-5)
    assert accuracy == pytest.approx((log_p.argmax(-1) == everything.targets).float().mean().item())


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_blocks_computed_twice_give_the_same_gradients(dropout: float) -> None:
    network, batch = a_network({"dropout": dropout}), a_batch(40)
    calls = []
    for block in network.blocks:
        block.register_forward_pre_hook(lambda block, _: calls.append(block))
    found = []
    for network.checkpointing in (False, True):
        torch.manual_seed(1)
        found.append(loss_and_gradients(network, batch))
    torch.testing.assert_close(*found, rtol=0, atol=1e-6)
    assert len(calls) == 3 * len(network.blocks), "once, and then twice"
