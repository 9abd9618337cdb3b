"""The networks' sizes, to the last parameter, and the LSTM against its definition."""

from pathlib import Path

import pytest
import torch

from lib import inference, inside, networks, widget_figures
from lib.config import ModelConfig, RunConfig
from lib.fields import UserError
from lib.lstm import LSTM
from lib.presets import GPT1, GPT2_LARGE, GPT2_MEDIUM
from lib.runs import Run
from lib.train import train

VOCAB_GPT1, VOCAB_GPT2 = 40_479, 50_257
SMALL = ModelConfig(kind="lstm", n_layers=2, d_model=8, d_hidden=12)


def sizes(changes: dict, vocab_size: int) -> tuple[int, int]:
    with torch.device("meta"):  # shapes alone
        network = networks.make(RunConfig().override(changes).model, vocab_size)
    return networks.n_params(network), networks.n_params(network, learnable=True)


@pytest.mark.parametrize(
    ("n_layers", "total", "learnable"),
    [(1, 34_107_392, 3_019_520), (2, 36_208_640, 5_120_768), (4, 40_411_136, 9_323_264)],
)
def test_lstm_sizes(n_layers: int, total: int, learnable: int) -> None:
    changes = {"model.kind": "lstm", "model.d_model": 768, "model.d_hidden": 512, "model.frozen_embeddings": True}
    assert sizes(changes | {"model.n_layers": n_layers}, VOCAB_GPT1) == (total, learnable)


@pytest.mark.parametrize(("n_layers", "total"), [(1, 38_372_352), (2, 45_460_224), (4, 59_635_968)])
def test_gpt1_sizes(n_layers: int, total: int) -> None:
    changes = GPT1 | {"model.n_layers": n_layers, "model.context_length": 256, "model.frozen_embeddings": True}
    assert sizes(changes, VOCAB_GPT1) == (total, n_layers * 7_087_872)


@pytest.mark.parametrize(("preset", "millions"), [(GPT2_MEDIUM, 406.2), (GPT2_LARGE, 838.2)])
def test_gpt2_sizes(preset: dict, millions: float) -> None:
    total, learnable = sizes(preset, VOCAB_GPT2)
    assert total == learnable and round(total / 1e6, 1) == millions


def test_an_lstm_reads_from_the_left_and_padding_changes_nothing() -> None:
    torch.manual_seed(0)
    network = networks.make(SMALL, 11).eval()
    tokens = torch.randint(11, (3, 6))
    logits = network(tokens)
    assert logits.shape == (3, 6, 11)
    torch.testing.assert_close(network(tokens[:, :4]), logits[:, :4])
    lengths = torch.tensor([6, 2, 4])
    torch.testing.assert_close(network(tokens, lengths, last=True), logits[range(3), lengths - 1])
    torch.testing.assert_close(network(tokens, last=True), logits[:, -1])


def test_an_lstm_is_what_its_equations_say() -> None:
    torch.manual_seed(0)
    network = networks.make(SMALL, 11).eval()
    x = network.embed(torch.tensor([4, 7, 1]))
    for layer in range(2):
        w = {
            name: getattr(network.lstm, f"{name}_l{layer}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        }
        h, c, out = torch.zeros(12), torch.zeros(12), []
        for step in x:
            gates = w["weight_ih"] @ step + w["bias_ih"] + w["weight_hh"] @ h + w["bias_hh"]
            i, f, g, o = gates.chunk(4)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            out.append(h)
        x = torch.stack(out)
    expected = (network.project(x).relu()) @ network.embed.weight.T
    torch.testing.assert_close(network(torch.tensor([[4, 7, 1]]))[0], expected)


def test_an_lstm_trains_is_stored_and_answers_like_any_network(tiny: RunConfig, tmp_path: Path) -> None:
    config = tiny.override({"model.kind": "lstm", "model.d_hidden": 24, "train.max_steps": 40})
    train(config, tmp_path / "whole")
    run = Run(tmp_path / "whole")
    assert run.metrics["train_loss"][-1] < run.metrics["train_loss"][0] - 0.1
    model, tokenizer, _ = run.load()
    assert isinstance(model, LSTM) and run.summary["n_params"] == networks.n_params(model)
    probabilities = inference.answer(model, tokenizer, config.data, 3, 4)
    assert 0.5 < float(probabilities.sum()) <= 1.0001
    assert len(widget_figures.answer(model, tokenizer, config, 3, 4).axes) == 1
    with pytest.raises(UserError, match=r"model\.kind = lstm: must be transformer"):
        inside.look(model, tokenizer, config)
    with pytest.raises(UserError, match=r"optim\.name = 'muon': must be another"):
        train(config.override({"optim.name": "muon"}), tmp_path / "muon")


def test_frozen_embeddings_stay() -> None:
    for kind in ("lstm", "transformer"):
        network = networks.make(ModelConfig(kind=kind, frozen_embeddings=True, d_model=8, n_heads=2), 11)
        network(torch.tensor([[1, 2, 3]])).square().sum().backward()
        assert network.embed.weight.grad is None and any(p.grad is not None for p in network.parameters())
