import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from lib import arithmetic, fast, networks
from lib.config import PAPER as PAPER_FIELDS
from lib.config import DataConfig, ModelConfig, OptimConfig, RunConfig, TrainConfig
from lib.data import IGNORE, collate
from lib.evaluate import scored_logits
from lib.model import Transformer, sinusoids
from lib.optim import Optimizer, orthogonalise

VOCAB = 15
PAPER = {name.removeprefix("model."): v for name, v in PAPER_FIELDS.items() if name.startswith("model.")}
POSITIONS = ("learned", "sinusoidal", "rope", "none")
OPTIONS = [
    dict(zip(("norm", "norm_placement", "activation", "positions", "tied", "bias"), values, strict=True))
    for values in itertools.product(
        ("layernorm", "rmsnorm", "none"),
        ("pre", "post"),
        ("gelu", "swiglu"),
        POSITIONS,
        (True, False),
        (True, False),
    )
]
SOME = [*OPTIONS[::13], PAPER, {"output": "stablemax"}, {}]
CACHED = [
    *SOME,
    *({"positions": kind, "norm_placement": place} for kind in POSITIONS for place in ("pre", "post")),
    *({"positions": "rope", "n_layers": n, "qkv_bias": False} for n in (1, 3)),
    *({"kind": "lstm", "n_layers": n, "d_hidden": 20} for n in (1, 3)),
]


def build(**options: object) -> Transformer:
    torch.manual_seed(0)
    sizes = dict(n_layers=2, n_heads=2, d_model=16, d_ff=24, context_length=12)
    return Transformer(ModelConfig(**(sizes | {"init": "torch"} | options)), VOCAB).eval()


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randint(VOCAB, (6, 9), generator=torch.Generator().manual_seed(1))


LENGTHS = torch.tensor([9, 1, 4, 8, 2, 9])


@pytest.mark.parametrize("options", SOME, ids=str)
def test_padded_batch_equals_each_sequence_alone(options: dict[str, object], tokens: torch.Tensor) -> None:
    model = build(**options)
    padded = model(tokens, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        alone = model(tokens[row : row + 1, :length])[0]
        torch.testing.assert_close(padded[row, :length], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", SOME, ids=str)
def test_later_tokens_never_change_earlier_logits(options: dict[str, object], tokens: torch.Tensor) -> None:
    model = build(**options)
    before = model(tokens)
    for t in range(1, tokens.shape[1]):
        changed = tokens.clone()
        changed[:, t:] = (changed[:, t:] + 1) % VOCAB
        torch.testing.assert_close(model(changed)[:, :t], before[:, :t], rtol=0, atol=1e-6)
        assert not torch.equal(model(changed)[:, t:], before[:, t:])


def test_padding_has_no_influence_and_no_gradient(tokens: torch.Tensor) -> None:
    model = build(tied=False)
    padding = torch.arange(9) >= LENGTHS[:, None]
    pad = VOCAB - 1  # a token that occurs nowhere else
    tokens = torch.where(padding, pad, tokens % pad)
    other = torch.where(padding, (tokens + 1) % VOCAB, tokens)
    torch.testing.assert_close(model(tokens, LENGTHS)[~padding], model(other, LENGTHS)[~padding], rtol=0, atol=0)
    model(tokens, LENGTHS)[~padding].square().sum().backward()
    assert (model.embed.weight.grad[pad] == 0).all() and (model.embed.weight.grad[:pad] != 0).any()


@pytest.mark.parametrize("options", SOME, ids=str)
def test_last_equals_the_full_forward(options: dict[str, object], tokens: torch.Tensor) -> None:
    model = build(**options)
    torch.testing.assert_close(model(tokens, last=True), model(tokens)[:, -1], rtol=1e-5, atol=1e-5)
    at_ends = model(tokens, LENGTHS)[torch.arange(6), LENGTHS - 1]
    torch.testing.assert_close(model(tokens, LENGTHS, last=True), at_ends, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sizes", [[12], [1] * 12, [5, 7], [1, 4, 1, 1, 3, 2]], ids=str)
@pytest.mark.parametrize("options", CACHED, ids=str)
def test_cached_logits_equal_the_full_forward(options: dict[str, object], sizes: list[int]) -> None:
    """Sequences that fill the context, read in pieces of these sizes."""
    tokens = torch.randint(VOCAB, (3, 12), generator=torch.Generator().manual_seed(3))
    model = networks.make(build(**options).config, VOCAB).eval()
    whole, ends = model(tokens), torch.tensor(sizes).cumsum(0)
    with torch.no_grad():
        cache, cache_of_last = model.new_cache(3), model.new_cache(3)
        pieces = tokens.split(sizes, 1)
        logits = torch.cat([model(piece, cache=cache) for piece in pieces], 1)
        at_ends = torch.stack([model(piece, last=True, cache=cache_of_last) for piece in pieces], 1)
    torch.testing.assert_close(logits, whole, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(at_ends, whole[:, ends - 1], rtol=1e-5, atol=1e-5)
    assert cache.past == cache_of_last.past == 12


@pytest.mark.parametrize("positions", POSITIONS)
def test_a_full_cache_takes_no_more(positions: str, tokens: torch.Tensor) -> None:
    model = build(positions=positions)
    with torch.no_grad():
        for read in (9, 12):
            cache = model.new_cache(6)
            model(tokens.repeat(1, 2)[:, :read], cache=cache)
            with pytest.raises(RuntimeError):
                model(tokens[:, : 13 - read], cache=cache)


@pytest.mark.parametrize("options", [*SOME, {"n_layers": 1}, {"n_layers": 3}], ids=str)
def test_fast_path_equals_the_plain_one(options: dict[str, object]) -> None:
    """Logits and gradients: equations (many shared beginnings, and rows twice), padded equations, random tokens."""
    equations = arithmetic.load(DataConfig(p=11)).splits["train"].tokens
    padded = arithmetic.load(DataConfig(p=13, tokenizer="character")).splits["train"]
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
            logits.append(model(tokens, lengths)[scored] if plain else fast.logits_of_scored(model, tokens, scored))
            F.cross_entropy(logits[-1], targets).backward()
            gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
        torch.testing.assert_close(logits[0], logits[1], rtol=1e-5, atol=1e-5)
        for slow, quick in zip(*gradients, strict=True):
            torch.testing.assert_close(slow, quick, rtol=1e-5, atol=1e-5)


def test_each_distinct_prefix_is_one_node() -> None:
    batch = arithmetic.load(DataConfig(p=11)).splits["train"]
    found = fast.find_prefixes(batch.tokens, batch.targets != IGNORE, VOCAB)
    nodes = found.node_positions.bincount().tolist()
    assert nodes == [11, 11, batch.size, batch.size]  # a, a /, and each equation's own a / b and a / b =
    assert found.positions.bincount().tolist() == [11, 1, 10, 1]  # tokens at each place: a, /, b, =
    assert [len(end) for end in found.ends] == [0, 0, 0, batch.size]


@given(st.lists(st.integers(0, 30)))
def test_unique_is_that_of_torch(numbers: list[int]) -> None:
    numbers = torch.tensor(numbers, dtype=torch.int64)
    for ours, theirs in zip(fast.unique(numbers, 31), numbers.unique(return_inverse=True), strict=True):
        assert torch.equal(ours, theirs)


def test_fast_path_in_bfloat16_is_close_to_the_plain_one() -> None:
    batch = arithmetic.load(DataConfig(p=11)).splits["train"]
    model = build()
    with torch.autocast("cpu", torch.bfloat16):
        quick = fast.logits_of_scored(model, batch.tokens, batch.targets != IGNORE)
        plain = model(batch.tokens, last=True)
    assert quick.dtype == plain.dtype == torch.float32
    torch.testing.assert_close(quick, plain, rtol=0.02, atol=0.02 * plain.abs().max().item())


def test_unscored_targets_have_no_gradient() -> None:
    """Through the loop's own way from sequences to loss: the gradient at the logits of the first 3 targets is zero."""
    batch = collate([[1, 5, 6, 7, 8, 9, 2], [1, 5, 6, 7, 2]], [3, 3], pad=0)
    logits, targets = scored_logits(build(), batch, "most")
    logits.retain_grad()
    F.cross_entropy(logits, targets, ignore_index=IGNORE).backward()
    per_token = logits.grad.view(*batch.tokens.shape, VOCAB).abs().sum(-1)
    assert (per_token > 0).tolist() == [[False] * 3 + [True] * 3, [False] * 3 + [True] + [False] * 2]


def test_parameter_counts() -> None:
    def count(vocab: int, **options: object) -> int:
        return networks.n_params(Transformer(ModelConfig(context_length=4, **options), vocab))

    block = 12 * 128**2 + 9 * 128 + 4 * 128  # four projections and 128-512-128, their biases, two norms
    assert count(99) == 99 * 128 + 4 * 128 + 2 * block + 2 * 128
    # Power et al., A.1.2: "about 4e5 non-embedding parameters"; their code's blocks have 394,240
    assert count(99, **PAPER) - 2 * 99 * 128 == 394_240
    assert count(99, tied=False) == count(99) + 99 * 128


def test_initial_scale_and_gpt2_deviations() -> None:
    torch.manual_seed(0)
    small, large = (Transformer(ModelConfig(init_scale=s), 99) for s in (1.0, 3.0))
    assert small.embed.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert small.blocks[0].attention.out.weight.std().item() == pytest.approx(0.01, rel=0.05)  # 0.02 / sqrt(2 · 2)
    assert large.embed.weight.std().item() == pytest.approx(0.06, rel=0.05)
    assert (large.final_norm.weight == 1).all()


def test_positions_matter_unless_there_are_none(tokens: torch.Tensor) -> None:
    swapped = tokens[:, [1, 0, *range(2, 9)]]
    for positions in ("learned", "sinusoidal", "rope"):
        model = build(positions=positions)
        assert (model(tokens)[:, -1] - model(swapped)[:, -1]).abs().max() > 1e-3
    model = build(positions="none", n_layers=1)  # one layer without positions sees a bag of tokens
    torch.testing.assert_close(model(tokens)[:, -1], model(swapped)[:, -1], rtol=1e-5, atol=1e-5)


def test_sinusoids_are_those_of_the_paper() -> None:
    table = sinusoids(10, 8)
    assert table[3, 4].item() == pytest.approx(torch.tensor(3 / 10_000 ** (4 / 8)).sin().item(), rel=1e-5)
    assert table[3, 5].item() == pytest.approx(torch.tensor(3 / 10_000 ** (4 / 8)).cos().item(), rel=1e-5)


def made(model: torch.nn.Module, max_steps: int, **options: object) -> Optimizer:
    return Optimizer(model, RunConfig(optim=OptimConfig(**options), train=TrainConfig(max_steps=max_steps)))


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "momentum", "muon"])
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


def test_stablemax_is_that_of_the_paper(tokens: torch.Tensor) -> None:
    """s(x) = x + 1 for x >= 0, 1 / (1 - x) below; probabilities s / sum s."""
    plain, stable = build()(tokens), build(output="stablemax")(tokens)
    s = torch.where(plain >= 0, plain + 1, 1 / (1 - plain))
    torch.testing.assert_close(stable.softmax(-1), s / s.sum(-1, keepdim=True))


def test_orthogonal_gradient() -> None:
    w = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    w.grad = torch.tensor([1.0, 0.0])
    orthogonalise([w])
    torch.testing.assert_close(w.grad, torch.tensor([0.8, -0.6]))  # at a right angle to w, and as long as before


def test_grokfast_adds_the_running_mean() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    options = {"name": "sgd", "weight_decay": 0, "warmup_steps": 0, "grokfast": 2.0, "grokfast_decay": 0.75}
    optimizer = made(model, 10, lr=1.0, **options)
    mean, w = None, model.weight.item()
    for step, g in enumerate([1.0, -0.5, 2.0]):
        model.weight.grad = torch.tensor([[g]])
        mean = g if mean is None else 0.75 * mean + 0.25 * g
        w -= g + 2.0 * mean
        optimizer.step(step)
        assert model.weight.item() == pytest.approx(w, rel=1e-6)


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
