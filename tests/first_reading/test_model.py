"""The transformer: its masks, positions, caches and sizes."""

import pytest
import torch
import torch.nn.functional as F
from conftest import PAPER, POSITIONS, SOME, VOCAB, build

from lib.config import ModelConfig
from lib.language import networks
from lib.model import FeedForward, Transformer, make_norm, sinusoids

CACHED = [
    *SOME,
    *({"positions": kind, "norm_placement": place} for kind in POSITIONS for place in ("pre", "post")),
    *({"positions": "rope", "n_layers": n, "qkv_bias": False} for n in (1, 3)),
    *({"kind": "lstm", "n_layers": n, "d_hidden": 20} for n in (1, 3)),
]


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
    assert cache[0].past == cache_of_last[0].past == 12


@pytest.mark.parametrize("positions", POSITIONS)
def test_a_full_cache_takes_no_more(positions: str, tokens: torch.Tensor) -> None:
    model = build(positions=positions)
    with torch.no_grad():
        for read in (9, 12):
            cache = model.new_cache(6)
            model(tokens.repeat(1, 2)[:, :read], cache=cache)
            with pytest.raises(RuntimeError):
                model(tokens[:, : 13 - read], cache=cache)


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


def test_stablemax_is_that_of_the_paper(tokens: torch.Tensor) -> None:
    """s(x) = x + 1 for x >= 0, 1 / (1 - x) below; probabilities s / sum s."""
    plain, stable = build()(tokens), build(output="stablemax")(tokens)
    s = torch.where(plain >= 0, plain + 1, 1 / (1 - plain))
    torch.testing.assert_close(stable.softmax(-1), s / s.sum(-1, keepdim=True))


def test_the_temperature_divides_what_becomes_a_probability(tokens: torch.Tensor) -> None:
    plain = build()(tokens)
    torch.testing.assert_close(build(temperature=4.0)(tokens), plain / 4)
    torch.testing.assert_close(
        build(temperature=4.0, output="stablemax")(tokens), plain.sign() * (plain / 4).abs().log1p()
    )


def test_gpt2s_gelu_is_the_tanh_form_and_the_norms_epsilon_can_be_set() -> None:
    x = torch.linspace(-3, 3, 8)[None]
    for activation, form in (("gelu", "none"), ("gelu_tanh", "tanh")):
        network = FeedForward(ModelConfig(d_model=8, n_heads=1, d_ff=8, activation=activation))
        torch.testing.assert_close(network(x), network.down(F.gelu(network.up(x), approximate=form)), rtol=0, atol=0)
    small = torch.full((1, 8), 1e-3)  # as at an initial scale of GPT-2's, where the epsilon decides
    own, llama = (make_norm(ModelConfig(d_model=8, n_heads=1, norm="rmsnorm", norm_eps=eps)) for eps in (0.0, 1e-5))
    assert own.eps is None and llama.eps == 1e-5
    torch.testing.assert_close(llama(small), small / (small.square().mean() + 1e-5).sqrt())
    assert make_norm(ModelConfig()).eps == 1e-5
