"""Looking into networks: trained ones against the model itself, made-up ones against what was put in."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lib import tasks
from lib.analysis import characters, inside
from lib.analysis.inside import Inside
from lib.config import RunConfig
from lib.experiments import ablation
from lib.figures import inside as figures
from lib.figures.style import style
from lib.model import Transformer
from lib.runs.run import Run
from lib.runs.stored import stored
from lib.support.errors import UserError
from lib.tokenizer import NumberTokenizer
from lib.training.trainer import train
from lib.training.weights import load_weights

P, N = 13, 12


@pytest.fixture
def division(tiny: RunConfig) -> RunConfig:
    return tiny.override({"data.operation": "/", "data.p": P, "model.n_layers": 2})


@pytest.fixture
def model(division: RunConfig) -> Transformer:
    torch.manual_seed(0)
    return Transformer(division.model, NumberTokenizer(P, "/").vocab_size).eval()


@pytest.fixture
def seen(model: Transformer, division: RunConfig) -> Inside:
    return inside.look(model, NumberTokenizer(P, "/"), division)


def with_answers(seen: Inside, answers: np.ndarray) -> Inside:
    """The same network with other logits of the answers 1, g, g², …"""
    logits = np.zeros_like(seen.logits)
    logits[:, :, :N] = answers
    return replace(seen, logits=logits)


def test_what_is_seen_is_what_the_model_does(model: Transformer, division: RunConfig, seen: Inside) -> None:
    tokenizer, powers = NumberTokenizer(P, "/"), characters.powers(P)
    assert seen.logits.shape == (N, N, tokenizer.vocab_size) and len(seen.neurons) == len(seen.attention) == 2
    with torch.no_grad():
        expected = model(torch.tensor([tokenizer.encode(f"{powers[3]}/{powers[7]}=")]), last=True)[0].numpy()
        zero = model(torch.tensor([tokenizer.encode("0/5=")]), last=True)[0].argmax() == 0
    assert seen.logits[3, 7, :N] == pytest.approx(expected[powers], abs=1e-5)
    assert sorted(seen.logits[3, 7]) == pytest.approx(sorted(expected), abs=1e-5) and seen.zero[4] == zero
    for weights in seen.attention:
        assert weights.shape == (N, N, division.model.n_heads, 4) and weights.sum(-1) == pytest.approx(1, abs=1e-5)
    table = {(a, b): c for a, b, c in tasks.equations("/", P).tolist()}
    assert powers[seen.right_answers[3, 7]] == table[powers[3], powers[7]]
    rows = tasks.split(division.data)["train"]
    logs = characters.logarithms(P)
    assert seen.trained_on.sum() == (rows[:, 0] > 0).sum()
    assert all(seen.trained_on[logs[a], logs[b]] for a, b, _ in rows.tolist() if a > 0)


def test_a_network_made_of_cosines_divides_by_the_difference_alone(seen: Inside) -> None:
    la, lb, lc = np.ogrid[:N, :N, :N]
    angle = 2 * np.pi * (la - lb - lc) / N
    made = with_answers(seen, 9 * (np.cos(angle) + np.cos(5 * angle)) + 0.01 * np.random.RandomState(0).rand(N, N, N))
    told = inside.measures(made)
    assert told["whole"] == told["difference"] == 1 and told["explained"] > 0.999
    assert told["sum"] < 0.25 and told["left"] < 0.25
    losses = inside.losses(made)
    assert losses["restricted"] == pytest.approx(losses["train"], rel=0.2) and losses["restricted"] < 0.1
    assert losses["excluded"] == pytest.approx(np.log(made.logits.shape[2]), rel=0.1)
    assert characters.key_frequencies(characters.difference_spectrum(made.logits)) == [1, 5]


def test_a_network_that_remembers_has_nothing_in_the_difference(seen: Inside) -> None:
    wrong = np.random.RandomState(0).randint(N, size=(N, N))  # sure of anything where it was not taught
    made = with_answers(seen, 20 * np.eye(N)[np.where(seen.trained_on, seen.right_answers, wrong)])
    told, losses = inside.measures(made), inside.losses(made)
    assert losses["train"] < 1e-6 and losses["excluded"] < 0.05 and losses["restricted"] > np.log(N)
    assert told["difference"] < 0.3 and told["left"] > 0.5


def test_an_embedding_built_by_hand_has_its_spectrum_and_its_circle(model: Transformer, division: RunConfig) -> None:
    angle = 2 * np.pi * characters.logarithms(P)[1:] / N
    made = np.stack([np.cos(2 * angle), np.sin(2 * angle), np.cos(5 * angle), np.sin(5 * angle)], axis=1)
    with torch.no_grad():
        model.embed.weight[1:P] = torch.tensor(np.tile(made, division.model.d_model // 4), dtype=torch.float32)
    seen = inside.look(model, NumberTokenizer(P, "/"), division)
    assert characters.spectrum(seen.in_order) == pytest.approx([0, 0.5, 0, 0, 0.5, 0], abs=1e-6)


def test_a_plane_shows_circles_where_there_are_any_and_none_in_noise() -> None:
    random, n, k = np.random.RandomState(0), 96, 7
    angle = 2 * np.pi * k * np.arange(n) / n
    directions = np.linalg.qr(random.randn(128, 2))[0].T
    circle = np.stack([np.cos(angle), np.sin(angle)], 1) @ directions + 0.02 * random.randn(n, 128)
    noise = random.randn(n, 128)
    for table, radius in ((circle, 0.9), (noise, 0.2)):
        x, y = figures.plane(table, k)
        along = (x * np.cos(angle) + y * np.sin(angle)).mean() / np.hypot(x, y).mean()
        assert along > radius if table is circle else abs(along) < radius


def test_progress_of_a_run_that_kept_its_weights(division: RunConfig, tmp_path: Path) -> None:
    train(division.override({"train.keep_weights": True}), tmp_path)
    run = Run(tmp_path)
    assert {10, 60} < set(run.snapshots)
    rounded, exact = load_weights(run.snapshots[60])[0], run.load()[0]
    for p, q in zip(rounded.parameters(), exact.parameters(), strict=True):
        assert p.dtype == torch.float32 and torch.allclose(p, q, rtol=1e-3, atol=1e-6)
    progress = inside.progress(run)
    assert list(progress) == list(run.snapshots)
    seen = inside.look(*run.load())
    spectrum = inside.difference_spectrum(run)
    assert spectrum == pytest.approx(characters.difference_spectrum(seen.logits))
    for name, loss in inside.losses(seen).items():
        assert progress[60][name] == pytest.approx(loss, rel=1e-2)  # the weights on the way are rounded
    assert progress[60]["train"] == pytest.approx(run.metrics["train_loss"][-1], rel=0.1)  # but for a = 0
    assert np.sum(progress[60]["attention"], axis=1) == pytest.approx(1)
    marks = {"T_fit": 20, "T_grok": None}
    figure = figures.phases({"one": (progress, marks), "two": (progress, marks)})
    assert len(figure.axes) == 4 and list(figure.axes[0].lines[0].get_xdata()) == list(run.snapshots)
    heads = figures.attention_while_learning(progress, marks).axes
    assert len(heads) == division.model.n_heads and heads[0].lines[2].get_ydata()[-1] == progress[60]["attention"][0][2]


def test_what_was_measured_is_kept_where_the_weights_are_not(division: RunConfig, tmp_path: Path) -> None:
    train(division.override({"train.keep_weights": True}), tmp_path)
    first = Run(tmp_path)
    told, spectrum = inside.progress(first), inside.difference_spectrum(first)
    shutil.rmtree(tmp_path / "weights")
    (tmp_path / "model.safetensors").unlink()
    again = Run(tmp_path)
    assert inside.progress(again) == told and (inside.difference_spectrum(again) == spectrum).all()
    (tmp_path / "inside.json").unlink()
    for measure in (inside.progress, inside.difference_spectrum):
        with pytest.raises(UserError, match=r"keeps no weights|stored without weights"):
            measure(Run(tmp_path))


def test_what_is_kept_beside_the_committed_run_is_what_its_weights_give() -> None:
    run = stored("mechanism", ablation.mechanism()[0])
    kept = json.loads((run.path / "inside.json").read_text())
    seen = inside.look(*run.load())
    # the table was made of float32 weights, and those committed are rounded to float16, with 11 binary digits
    assert kept["spectrum"] == pytest.approx(characters.difference_spectrum(seen.logits).tolist(), abs=1e-3)
    step = max(run.snapshots)
    now = inside.moment(inside.look(*load_weights(run.snapshots[step])))
    assert {name: now[name] for name in ("train", "unseen", "gini")} == pytest.approx(
        {name: kept["progress"][str(step)][name] for name in ("train", "unseen", "gini")}, rel=1e-3, abs=1e-7
    )  # a mean of float32 losses is exact to 1e-7


def test_where_a_measure_falls_below_a_level() -> None:
    progress = {step: {"loss": loss} for step, loss in ((10, 4.0), (20, 5.0), (30, 1.0), (40, 6.0), (50, 0.0))}
    assert inside.falls_below(progress, "loss", 2.0) == pytest.approx(27.5)
    assert inside.falls_below(progress, "loss", 5.5) == pytest.approx(40 + 10 * 0.5 / 6)
    with pytest.raises(UserError, match="loss: never falls below -1"):
        inside.falls_below(progress, "loss", -1.0)


@pytest.mark.parametrize("positions", ["learned", "rope"])
def test_attention_is_what_the_network_attends_by(positions: str, division: RunConfig) -> None:
    model = Transformer(division.override({"model.positions": positions}).model, P + 2).eval()
    tokens, block = torch.tensor([[3, P, 5, P + 1], [1, P, 2, P + 1]]), model.blocks[1].attention
    values, mixed = [], []
    block.value.register_forward_hook(lambda _, inputs, output: values.append(output))
    block.out.register_forward_pre_hook(lambda _, inputs: mixed.append(inputs[0]))
    seen = inside.at_last(model, tokens)
    heads = values[0].view(2, 4, block.n_heads, -1)
    again = torch.einsum("bht,bthd->bhd", seen.attention[1], heads).flatten(1)
    torch.testing.assert_close(again, mixed[0][:, -1])
    torch.testing.assert_close(seen.logits, model(tokens)[:, -1])


def test_a_run_that_kept_nothing_says_so(tiny: RunConfig, tmp_path: Path) -> None:
    train(tiny, tmp_path)
    with pytest.raises(UserError, match=r"--train\.keep_weights=true"):
        _ = Run(tmp_path).snapshots


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"data.operation": "+"}, r"data\.operation = \+"), ({"data.tokenizer": "character"}, "tokenizer = character")],
)
def test_networks_that_cannot_be_looked_into(changes: dict[str, str], message: str, division: RunConfig) -> None:
    config = division.override(changes)
    tokenizer = NumberTokenizer(P, config.data.operation)
    with pytest.raises(UserError, match=message):
        inside.look(Transformer(config.model, tokenizer.vocab_size), tokenizer, config)


def test_pictures(seen: Inside, division: RunConfig) -> None:
    style()
    table = figures.tables(division.data).axes[1].collections[0].get_array()
    assert (table == seen.right_answers).all()
    assert len(figures.spectra(seen).axes[0].patches) == N // 2
    assert len(figures.circles({"one": seen, "two": seen}, [1, 6]).axes) == 4
    assert len(figures.attention({"tiny": seen}).axes) == 2 and len(figures.neurons({"tiny": seen}).axes[0].lines) == 3
    assert figures.seeds_frequencies(dict.fromkeys((3, 5), np.ones(N // 2))).axes[0].collections[
        0
    ].get_array().shape == (2, N // 2)
    assert figures.logit_waves(seen).axes[0].lines[0].get_ydata().size == N
