"""The kinds of networks, all with one interface."""

from torch import nn

from lib.config import ModelConfig
from lib.language.lstm import LSTM
from lib.model import Transformer

Network = Transformer | LSTM


def make(config: ModelConfig, vocab_size: int) -> Network:
    """The network of a config, with its initial weights."""
    return {"transformer": Transformer, "lstm": LSTM}[config.kind](config, vocab_size)


def n_params(network: nn.Module, learnable: bool = False) -> int:
    """Parameters, each counted once however often it is used; or only those that are trained."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad or not learnable)
