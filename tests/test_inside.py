"""Looking into networks: trained ones against the model itself, hand-built ones against what was built in."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lib import arithmetic, characters, inside, plots
from lib import inside_figures as figures
from lib.checkpoint import load_weights
from lib.config import RunConfig
from lib.fields import UserError
from lib.model import Transformer
from lib.runs import Run
from lib.tokenizer import NumberTokenizer
from lib.train import train


@pytest.fixture
def division(tiny: RunConfig) -> RunConfig:
    return tiny.override({"data.operation": "/", "data.p": 13, "model.n_layers": 2})


def test_what_is_seen_is_what_the_model_does(division: RunConfig) -> None:
    torch.manual_seed(0)
    tokenizer = NumberTokenizer(13, "/")
    model = Transformer(division.model, tokenizer.vocab_size).eval()
    seen = inside.look(model, tokenizer, division.data)
    powers = characters.powers(13)
    assert seen.logits.shape == (12, 12, tokenizer.vocab_size) and len(seen.neurons) == len(seen.attention) == 2
    tokens = torch.tensor([tokenizer.encode(f"{powers[3]}/{powers[7]}=")])
    with torch.no_grad():
        expected = model(tokens, last=True)[0].numpy()
    assert seen.logits[3, 7, :12] == pytest.approx(expected[powers], abs=1e-5)
    assert sorted(seen.logits[3, 7]) == pytest.approx(sorted(expected), abs=1e-5)
    for weights in seen.attention:
        assert weights.shape == (12, 12, division.model.n_heads, 4) and weights.sum(-1) == pytest.approx(1, abs=1e-5)
    assert (seen.answers == np.subtract.outer(np.arange(12), np.arange(12)) % 12).all()
    rows = arithmetic.split(division.data)["train"]
    assert seen.trained_on.sum() == (rows[:, 0] > 0).sum()
    a, b, _ = next(row for row in rows.tolist() if row[0] > 0)
    logs = characters.logarithms(13)
    assert seen.trained_on[logs[a], logs[b]]


def test_logits_built_by_hand_are_all_key_frequency(division: RunConfig) -> None:
    torch.manual_seed(0)
    tokenizer = NumberTokenizer(13, "/")
    model = Transformer(division.model, tokenizer.vocab_size).eval()
    seen = inside.look(model, tokenizer, division.data)
    la, lb, lc = np.ogrid[:12, :12, :12]
    angle = 2 * np.pi * (la - lb - lc) / 12
    made = np.zeros_like(seen.logits)
    made[:, :, :12] = 9 * (np.cos(angle) + np.cos(5 * angle))
    built = inside.Inside(seen.data, made, seen.neurons, seen.attention, seen.embedding, seen.unembedding)
    assert inside.key_frequencies(built) == [1, 5] and built.accuracy(made) == 1
    part = characters.family(made, [1, 5])
    assert part == pytest.approx(made) and built.loss(made) < 0.1
    assert built.loss(made - part) == pytest.approx(np.log(tokenizer.vocab_size))


def test_an_embedding_built_by_hand_has_its_spectrum(division: RunConfig) -> None:
    tokenizer = NumberTokenizer(13, "/")
    model = Transformer(division.model, tokenizer.vocab_size).eval()
    angle = 2 * np.pi * characters.logarithms(13)[1:] / 12
    made = np.stack([np.cos(2 * angle), np.sin(2 * angle), np.cos(5 * angle), np.sin(5 * angle)], axis=1)
    with torch.no_grad():
        model.embed.weight[1:13] = torch.tensor(np.tile(made, division.model.d_model // 4), dtype=torch.float32)
    seen = inside.look(model, tokenizer, division.data)
    assert characters.spectrum(seen.embedding) == pytest.approx([0, 0.5, 0, 0, 0.5, 0], abs=1e-6)
    assert (seen.unembedding == seen.embedding).all(), "tied"


def test_progress_of_a_run_that_kept_its_weights(division: RunConfig, tmp_path: Path) -> None:
    train(division.override({"train.keep_weights": True}), tmp_path)
    run = Run(tmp_path)
    assert {10, 60} < set(run.snapshots)
    rounded, exact = load_weights(run.snapshots[60])[0], run.load()[0]
    for p, q in zip(rounded.parameters(), exact.parameters(), strict=True):
        assert p.dtype == torch.float32 and torch.allclose(p, q, rtol=1e-3, atol=1e-6)
    told = inside.progress(run.snapshots[60], [1, 2, 3, 4, 5, 6])
    assert told["train"] == pytest.approx(run.metrics["train_loss"][-1], rel=0.1)  # but for a = 0
    assert told["restricted"] > 0 and told["excluded"] > 0 and 0 < told["gini"] < 1


def test_a_run_that_kept_nothing_says_so(tiny: RunConfig, tmp_path: Path) -> None:
    train(tiny, tmp_path)
    with pytest.raises(UserError, match=r"train\.keep_weights=true"):
        _ = Run(tmp_path).snapshots


def test_measures_of_a_network_that_cannot_divide_and_pictures_of_it(division: RunConfig) -> None:
    torch.manual_seed(0)
    tokenizer = NumberTokenizer(13, "/")
    model = Transformer(division.model, tokenizer.vocab_size).eval()
    seen = inside.look(model, tokenizer, division.data)
    told = inside.measures(seen)
    assert told["whole"] < 0.5 and told["gini"] == pytest.approx(told["gini_integers"], abs=0.3)
    assert 0 <= inside.zero_row(model, tokenizer, division.data)[0] <= 1
    plots.style()
    tables = figures.tables(division.data).axes[1].images[0].get_array()
    assert (tables == np.subtract.outer(np.arange(12), np.arange(12)) % 12).all()
    assert len(figures.spectra(seen).axes[0].patches) == 6 and len(figures.circles(seen, [1, 6]).axes) == 2
    assert len(figures.attention({"tiny": seen}).axes) == 2 and len(figures.neurons({"tiny": seen}).axes[0].lines) == 3
    assert figures.seeds_frequencies([seen, seen]).axes[0].images[0].get_array().shape == (2, 6)
    assert figures.logit_waves(seen).axes[0].lines[0].get_ydata().size == 12


def test_coordinates_in_a_plane_of_the_embedding() -> None:
    angle = 2 * np.pi * 3 * np.arange(12) / 12
    directions = np.linalg.qr(np.random.RandomState(0).rand(8, 2))[0].T
    x, y = figures.plane(5 + np.stack([np.cos(angle), np.sin(angle)], 1) @ directions, 3)
    assert np.hypot(x, y) == pytest.approx(1)
