"""The loss of a corpus in chunks, against whole logits."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from conftest import SMALL_NETWORK, a_batch
from torch import nn

from lib.config import ModelConfig, TrainConfig
from lib.data import Batch
from lib.language import chunks, networks
from lib.language.chunks import CorpusObjective, LossInBlocks, evaluate_tokens
from lib.language.corpora import Windows

NETWORKS = [
    {"tied": True},
    {"tied": False, "norm": "rmsnorm", "norm_placement": "post"},
    {"output": "stablemax"},
    {"temperature": 3.0},
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


@pytest.mark.parametrize("block", [40, 16, 1])
@pytest.mark.parametrize("changes", NETWORKS, ids=str)
def test_the_loss_in_chunks_is_that_of_whole_logits(changes: dict, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_LOGITS", 40 * 7)  # 40 tokens: five chunks of 7, one of 5
    monkeypatch.setattr(chunks, "ROWS", 7)
    monkeypatch.setattr(chunks, "BLOCK", block)
    network, batch = a_network(changes), a_batch(40)
    in_chunks, whole = (loss_and_gradients(network, batch, whole_logits=whole) for whole in (False, True))
    torch.testing.assert_close(in_chunks, whole, rtol=1e-5, atol=1e-5)
    by_hand = F.cross_entropy(network(batch.tokens).flatten(0, 1), batch.targets.flatten())
    torch.testing.assert_close(in_chunks[0], by_hand.detach())


def difference(found: list[torch.Tensor], expected: list[torch.Tensor]) -> float:
    """Norm of the difference of two gradients, as a share of the second."""
    one, other = (torch.cat([tensor.double().flatten() for tensor in of[1:]]) for of in (found, expected))
    return ((one - other).norm() / other.norm()).item()


@pytest.mark.parametrize("scale", [0.0, 0.01, 1.0, 100.0])
def test_the_loss_in_blocks_is_as_right_as_torchs(scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """For logits from equal to thousands apart, where a block may have no share of the probability."""
    monkeypatch.setattr(chunks, "BLOCK", 8)
    torch.manual_seed(0)
    features, weight, targets = torch.randn(30, 16), scale * torch.randn(50, 16), torch.randint(50, (30,))

    def of(loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], dtype: torch.dtype) -> list[torch.Tensor]:
        x, w = (tensor.to(dtype, copy=True).requires_grad_() for tensor in (features, weight))
        value = loss(x, w)
        (3 * value).backward()
        return [value.detach(), x.grad, w.grad]

    own = of(lambda x, w: LossInBlocks.apply(x, w, targets, torch.float32), torch.float32)
    plain, exact = (
        of(lambda x, w: F.cross_entropy(x @ w.T, targets), dtype) for dtype in (torch.float32, torch.float64)
    )
    assert own[0].item() == pytest.approx(exact[0].item(), rel=1e-6)
    assert difference(own, exact) < 2 * difference(plain, exact) + 1e-6


@pytest.mark.parametrize("changes", [*NETWORKS, {"positions": "rope"}], ids=str)
def test_in_bfloat16_only_the_factors_of_products_are_rounded(changes: dict) -> None:
    """Against whole logits, in float32 of the same states. Eight bits are right to 0.4 %, a gradient adds up many."""
    network = a_network(changes | {"init_scale": 5.0, "context_length": 64, "d_model": 64}, vocab_size=500)
    ids = torch.randint(500, (8, 65))
    batch = Batch(ids[:, :-1], ids[:, 1:], None)
    rounded, exact = (
        loss_and_gradients(network, batch, precision="bfloat16", whole_logits=whole) for whole in (False, True)
    )
    assert {tensor.dtype for tensor in rounded} == {torch.float32}
    assert rounded[0].item() == pytest.approx(exact[0].item(), rel=1e-3)
    assert difference(rounded, exact) < 0.02


def test_in_bfloat16_the_sums_are_float32s() -> None:
    """Of 50,000 equal words each has 10.8 nats; a sum in bfloat16 would stop at 256 of them."""
    features, weight = torch.randn(4, 8), torch.zeros(50_000, 8, requires_grad=True)
    loss = LossInBlocks.apply(features, weight, torch.arange(4), torch.bfloat16)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(50_000), rel=1e-6)
    torch.testing.assert_close(weight.grad[10], features.mean(0) / 50_000, rtol=0.02, atol=1e-7)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_short_attention_is_attention(checkpointing: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """To eight bits, as the fused kernel."""
    network, batch = a_network({}), a_batch(40)
    network.checkpointing = checkpointing
    exact = loss_and_gradients(network, batch)
    for longest in (chunks.SHORT, 0):
        monkeypatch.setattr(chunks, "SHORT", longest)
        assert difference(loss_and_gradients(network, batch, precision="bfloat16"), exact) < 0.02
    assert not torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed(), "left as it was"


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
