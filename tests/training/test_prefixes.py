"""Shared beginnings, against the plain way."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from conftest import SOME, VOCAB, build
from torch import Tensor

from lib import tasks
from lib.config import DataConfig, ModelConfig, TrainConfig
from lib.data import IGNORE, Batch, Dataset
from lib.model import Block, Transformer
from lib.objective import Objective, scored_logits
from lib.training import prefixes

EQUATIONS = tasks.load_equations(DataConfig(p=11))
PADDED = tasks.load_equations(DataConfig(p=13, tokenizer="character"))


def of_random_tokens(scored: Tensor | None = None) -> Dataset:
    tokens = torch.randint(VOCAB - 2, (40, 5), generator=torch.Generator().manual_seed(2))
    at_the_end = torch.arange(5) == 4
    targets = (tokens + 1).where(at_the_end if scored is None else tokens % 3 == 0, IGNORE)
    return Dataset(SimpleNamespace(vocab_size=VOCAB), {"train": Batch(tokens, targets, None)})


def logits_and_gradients(model: Transformer, data: Dataset, batch: Batch, plain: bool) -> list[Tensor]:
    model.zero_grad()
    way = scored_logits if plain else prefixes.SharedPrefixes(data)
    logits, targets = way(model, batch, batch.scoring)
    logits, targets = logits[targets != IGNORE], targets[targets != IGNORE]
    F.cross_entropy(logits, targets).backward()
    return [logits, targets, *(p.grad.clone() for p in model.parameters() if p.grad is not None)]


@pytest.mark.parametrize("options", [*SOME, {"n_layers": 1}, {"n_layers": 3}], ids=str)
def test_fast_path_equals_the_plain_one(options: dict[str, object]) -> None:
    """Logits and gradients: equations that share beginnings, and some twice; few equations; padded; random tokens."""
    model = build(**options)
    many, padded = EQUATIONS.splits["train"], PADDED.splits["train"]
    for data, batch in (
        (EQUATIONS, many[torch.arange(many.size + 5) % many.size]),
        (EQUATIONS, many[3:9]),
        (EQUATIONS, EQUATIONS.splits["test"]),
        (PADDED, padded),
        (PADDED, padded[:7]),
        (PADDED, PADDED.splits["val"]),
        (of_random_tokens(), of_random_tokens().splits["train"]),
        (of_random_tokens(torch.tensor(True)), of_random_tokens(torch.tensor(True)).splits["train"]),
    ):
        plain, fast = (logits_and_gradients(model, data, batch, plain) for plain in (True, False))
        for slow, quick in zip(plain, fast, strict=True):
            torch.testing.assert_close(slow, quick, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "config",
    [
        DataConfig(operation="a**2+a*b+b**2", p=12),
        DataConfig(p=13, own_b=True, train_where="b <= 6", train_fraction=1, label_noise=0.1),
        DataConfig(operation="a/b", p=15),
        DataConfig(operation="s5(a*b)", p=120, train_fraction=0.02),
    ],
    ids=lambda config: config.operation,
)
def test_fast_path_equals_the_plain_one_on_every_kind_of_equations(config: DataConfig) -> None:
    data = tasks.load_equations(config)
    torch.manual_seed(0)
    sizes = dict(n_layers=2, n_heads=2, d_model=16, d_ff=24, context_length=4, init="torch")
    model = Transformer(ModelConfig(**sizes), data.tokenizer.vocab_size)
    for split in data.splits.values():
        plain, fast = (logits_and_gradients(model, data, split[:300], plain) for plain in (True, False))
        for slow, quick in zip(plain, fast, strict=True):
            torch.testing.assert_close(slow, quick, rtol=1e-5, atol=1e-5)


def test_evaluations_are_the_same() -> None:
    model = build(dropout=0.3)
    for data in (EQUATIONS, PADDED):
        plain = Objective(model, data.scoring, TrainConfig())
        fast = Objective(model, data.scoring, TrainConfig(), prefixes.fastest(model, data))
        for split in data.splits.values():
            assert fast.evaluate(split) == pytest.approx(plain.evaluate(split), rel=1e-5)


def test_as_many_states_are_computed_whatever_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    model, split, sizes = build(), EQUATIONS.splits["train"], []
    forward = torch.nn.Linear.forward
    monkeypatch.setattr(torch.nn.Linear, "forward", lambda self, x: sizes.append(len(x)) or forward(self, x))
    way = prefixes.SharedPrefixes(EQUATIONS)
    for rows in (torch.arange(40), torch.arange(40, 80) % split.size, torch.zeros(40, dtype=torch.int64)):
        sizes.clear()
        way(model, split[rows], "last")
        first_block, last_block = sizes[1:3], sizes[-2:]
        assert first_block == [2 * 11 + 2 * 40] * 2  # a, a / of all beginnings; a / b, a / b = of each equation
        assert last_block == [40] * 2


def test_a_model_that_drops_in_training_computes_whole_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, model, batch = [], build(dropout=0.1), EQUATIONS.splits["train"]
    forward = Block.forward
    monkeypatch.setattr(Block, "forward", lambda *args, **options: calls.append(1) or forward(*args, **options))
    way = prefixes.SharedPrefixes(EQUATIONS)
    way(model.eval(), batch, "last")
    assert not calls
    way(model.train(), batch, "last")
    assert calls == [1, 1]


def test_fast_path_in_bfloat16_is_close_to_the_plain_one() -> None:
    batch, model = EQUATIONS.splits["train"], build()
    with torch.autocast("cpu", torch.bfloat16):
        quick, _ = prefixes.SharedPrefixes(EQUATIONS)(model, batch, "last")
        plain = model(batch.tokens, last=True)
    assert quick.dtype == plain.dtype == torch.float32
    torch.testing.assert_close(quick, plain, rtol=0.02, atol=0.02 * plain.abs().max().item())
