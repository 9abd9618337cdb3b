"""An LSTM language model with the interface of `lib.model.Transformer`."""

from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.config import ModelConfig
from lib.model import Lengths, to_logits


class LSTM(nn.Module):
    """Embedding -> LSTM of n_layers -> projection back to the embedding's width -> ReLU -> the embedding as output.

    B sequences of T tokens, D = d_model (the embedding), H = d_hidden (the state), V tokens in the vocabulary. Each
    sequence begins with a state of zeros.
    """

    checkpointing = False  # of blocks, which it does not have

    def __init__(self, config: ModelConfig, vocab_size: int) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(vocab_size, config.d_model)
        between = config.dropout if config.n_layers > 1 else 0.0
        self.lstm = nn.LSTM(config.d_model, config.d_hidden, config.n_layers, batch_first=True, dropout=between)
        self.dropout = nn.Dropout(config.dropout)
        self.project = nn.Linear(config.d_hidden, config.d_model)
        nn.init.normal_(self.embed.weight, std=0.02 if config.init == "gpt2" else 1.0)
        for parameter in self.parameters():
            parameter.data *= config.init_scale
        self.embed.weight.requires_grad_(not config.frozen_embeddings)

    def new_cache(self, batch_size: int) -> list[SimpleNamespace]:
        """The state (h, c), each (n_layers, batch_size, H), before the first token, and how many tokens were read."""
        zeros = self.embed.weight.new_zeros(self.config.n_layers, batch_size, self.config.d_hidden)
        return [SimpleNamespace(state=(zeros, zeros), past=0)]

    def forward(self, tokens: Tensor, lengths: Lengths = None, last: bool = False, cache: Any = None) -> Tensor:
        """Logits (B, T, V); with `last=True` those of each sequence's last token only, (B, V).

        tokens: (B, T) int64, padded on the right. lengths: (B,) tokens before the padding, or None without padding.
        A later token never changes an earlier token's logits, so padding needs no mask.

        With a `cache` the tokens continue the tokens read before, and the logits are what the full forward
        gives at the new positions. `lengths` must then be None: the state after padding is not the sequence's.
        """
        return self.logits(self.states(tokens, lengths, last, cache))

    def states(self, tokens: Tensor, lengths: Lengths = None, last: bool = False, cache: Any = None) -> Tensor:
        """The last layer's output, (B, T, H), or (B, H) with `last=True`."""
        x = self.dropout(self.embed(tokens))
        if cache is None:
            states, _ = self.lstm(x)
        else:
            states, cache[0].state = self.lstm(x, cache[0].state)
            cache[0].past += tokens.shape[1]
        if last:
            at = -1 if lengths is None else lengths - 1
            states = states[range(len(states)), at]
        return self.dropout(states)

    def features(self, states: Tensor) -> Tensor:
        """States (…, H) to what the output layer reads, (…, D), in float32."""
        with torch.autocast(states.device.type, enabled=False):
            return self.project(states.float()).relu()

    @property
    def output_weight(self) -> Tensor:
        """(V, D), one row per token."""
        return self.embed.weight

    def logits(self, states: Tensor) -> Tensor:
        """States (…, H) to logits (…, V), in float32 under autocast, too."""
        with torch.autocast(states.device.type, enabled=False):
            return to_logits(F.linear(self.features(states), self.output_weight), self.config)
