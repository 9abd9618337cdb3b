"""The LSTM against its definition, and what both kinds of networks share."""

from pathlib import Path

import pytest
import torch

from lib.analysis import inside
from lib.config import ModelConfig, RunConfig
from lib.figures import stills
from lib.language import networks
from lib.language.lstm import LSTM
from lib.runs.run import Run
from lib.sampling import answer_probabilities
from lib.support.errors import UserError
from lib.training.trainer import train

SMALL = ModelConfig(kind="lstm", n_layers=2, d_model=8, d_hidden=12)


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
    probabilities = answer_probabilities(model, tokenizer, config.data, 3, 4)
    assert 0.5 < float(probabilities.sum()) <= 1.0001
    assert len(stills.answer_picture(model, tokenizer, config, 3, 4).axes) == 1
    with pytest.raises(UserError, match=r"model\.kind = lstm: must be transformer"):
        inside.look(model, tokenizer, config)
    with pytest.raises(UserError, match=r"optim\.name = 'muon': must be another"):
        train(config.override({"optim.name": "muon"}), tmp_path / "muon")


def test_frozen_embeddings_stay() -> None:
    for kind in ("lstm", "transformer"):
        network = networks.make(ModelConfig(kind=kind, frozen_embeddings=True, d_model=8, n_heads=2), 11)
        network(torch.tensor([[1, 2, 3]])).square().sum().backward()
        assert network.embed.weight.grad is None and any(p.grad is not None for p in network.parameters())
