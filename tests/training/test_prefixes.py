"""Shared prefixes, against the plain way."""

import pytest
import torch
import torch.nn.functional as F
from conftest import SOME, VOCAB, build
from hypothesis import given
from hypothesis import strategies as st

from lib import tasks
from lib.config import DataConfig, ModelConfig
from lib.data import IGNORE
from lib.model import Transformer
from lib.training import prefixes


@pytest.mark.parametrize("options", [*SOME, {"n_layers": 1}, {"n_layers": 3}], ids=str)
def test_fast_path_equals_the_plain_one(options: dict[str, object]) -> None:
    """Logits and gradients: equations (many shared beginnings, and rows twice), padded equations, random tokens."""
    equations = tasks.load_equations(DataConfig(p=11)).splits["train"].tokens
    padded = tasks.load_equations(DataConfig(p=13, tokenizer="character")).splits["train"]
    random = torch.randint(VOCAB - 2, (40, 5), generator=torch.Generator().manual_seed(2))
    for tokens, scored, lengths in (
        (torch.cat([equations, equations[:5]]), None, None),
        (padded.tokens, padded.targets != IGNORE, padded.lengths),
        (random, None, None),
        (random, random % 3 == 0, None),
    ):
        if scored is None:
            scored = torch.zeros_like(tokens, dtype=torch.bool)
            scored[:, -1] = True
        model = build(**options)
        targets = torch.arange(int(scored.sum())) % VOCAB
        gradients, logits = [], []
        for plain in (True, False):
            model.zero_grad()
            logits.append(model(tokens, lengths)[scored] if plain else prefixes.logits_of_scored(model, tokens, scored))
            F.cross_entropy(logits[-1], targets).backward()
            gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
        torch.testing.assert_close(logits[0], logits[1], rtol=1e-5, atol=1e-5)
        for slow, quick in zip(*gradients, strict=True):
            torch.testing.assert_close(slow, quick, rtol=1e-5, atol=1e-5)


def test_each_distinct_prefix_is_one_node() -> None:
    batch = tasks.load_equations(DataConfig(p=11)).splits["train"]
    found = prefixes.find_prefixes(batch.tokens, batch.targets != IGNORE, VOCAB)
    nodes = found.node_positions.bincount().tolist()
    assert nodes == [11, 11, batch.size, batch.size]  # a, a /, and each equation's own a / b and a / b =
    assert found.positions.bincount().tolist() == [11, 1, 10, 1]  # tokens at each place: a, /, b, =
    assert [len(end) for end in found.ends] == [0, 0, 0, batch.size]


@pytest.mark.parametrize(
    "data",
    [
        DataConfig(operation="a**2+a*b+b**2", p=12),
        DataConfig(p=13, own_b=True, train_where="b <= 6", train_fraction=1, label_noise=0.1),
        DataConfig(operation="a/b", p=15),
        DataConfig(operation="s5(a*b)", p=120, train_fraction=0.02),
    ],
    ids=lambda data: data.operation,
)
def test_fast_path_equals_the_plain_one_on_every_kind_of_equations(data: DataConfig) -> None:
    loaded = tasks.load_equations(data)
    torch.manual_seed(0)
    sizes = dict(n_layers=2, n_heads=2, d_model=16, d_ff=24, context_length=4, init="torch")
    model = Transformer(ModelConfig(**sizes), loaded.tokenizer.vocab_size)
    for split in loaded.splits.values():
        some = split[:300]
        quick, targets = prefixes.scored_logits(model, some, loaded.scoring)
        assert targets.tolist() == some.targets[:, -1].tolist()
        torch.testing.assert_close(quick, model(some.tokens, last=True), rtol=1e-5, atol=1e-5)


@given(st.lists(st.integers(0, 30)))
def test_unique_is_that_of_torch(numbers: list[int]) -> None:
    numbers = torch.tensor(numbers, dtype=torch.int64)
    for ours, theirs in zip(prefixes.unique(numbers, 31), numbers.unique(return_inverse=True), strict=True):
        assert torch.equal(ours, theirs)


def test_fast_path_in_bfloat16_is_close_to_the_plain_one() -> None:
    batch = tasks.load_equations(DataConfig(p=11)).splits["train"]
    model = build()
    with torch.autocast("cpu", torch.bfloat16):
        quick = prefixes.logits_of_scored(model, batch.tokens, batch.targets != IGNORE)
        plain = model(batch.tokens, last=True)
    assert quick.dtype == plain.dtype == torch.float32
    torch.testing.assert_close(quick, plain, rtol=0.02, atol=0.02 * plain.abs().max().item())
