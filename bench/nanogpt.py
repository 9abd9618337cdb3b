"""The network to compare with, in nanoGPT's plain way: whole logits, and samples that keep nothing between tokens."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.model import Transformer


class PlainBlock(nn.Module):
    """One projection makes queries, keys and values; pre-LN, GELU, biases."""

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.qkv, self.out = nn.Linear(d_model, 3 * d_model), nn.Linear(d_model, d_model)
        self.up, self.down = nn.Linear(d_model, 4 * d_model), nn.Linear(4 * d_model, d_model)

    def forward(self, x: Tensor) -> Tensor:
        B, T, D = x.shape
        qkv = self.qkv(self.attention_norm(x)).split(D, 2)
        q, k, v = (part.view(B, T, self.n_heads, D // self.n_heads).transpose(1, 2) for part in qkv)
        heads = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(heads.transpose(1, 2).contiguous().view(B, T, D))
        return x + self.down(F.gelu(self.up(self.feed_forward_norm(x))))


class PlainGPT(nn.Module):
    """The network of a `Transformer` of the handout's starter, or GPT-2's, with its weights: so with its logits."""

    @torch.no_grad()
    def __init__(self, like: Transformer) -> None:
        super().__init__()
        config, vocab_size = like.config, len(like.output_weight)
        self.context = config.context_length
        self.embed = nn.Embedding(vocab_size, config.d_model)
        self.position = nn.Embedding(config.context_length, config.d_model)
        self.blocks = nn.ModuleList(PlainBlock(config.d_model, config.n_heads) for _ in like.blocks)
        self.final_norm = nn.LayerNorm(config.d_model)
        self.unembed = nn.Linear(config.d_model, vocab_size, bias=False)
        self.unembed.weight.copy_(like.output_weight)
        if config.tied:
            self.unembed.weight = self.embed.weight
        pairs = [(self.embed, like.embed), (self.position, like.position), (self.final_norm, like.final_norm)]
        for own, block in zip(self.blocks, like.blocks, strict=True):
            attention, feed_forward = block.attention, block.feed_forward
            pairs += [(own.attention_norm, block.attention_norm), (own.feed_forward_norm, block.feed_forward_norm)]
            pairs += [(own.out, attention.out), (own.up, feed_forward.up), (own.down, feed_forward.down)]
            projections = (attention.query, attention.key, attention.value)
            own.qkv.weight.copy_(torch.cat([p.weight for p in projections]))
            biases = [torch.zeros(config.d_model) if p.bias is None else p.bias for p in projections]
            own.qkv.bias.copy_(torch.cat(biases))
        for own, theirs in pairs:
            own.load_state_dict(theirs.state_dict())

    def forward(self, tokens: Tensor, last: bool = False) -> Tensor:
        """Logits (B, T, V); with `last` those of the last position alone, (B, 1, V)."""
        x = self.embed(tokens) + self.position(torch.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        x = self.final_norm(x)
        return self.unembed(x[:, [-1]] if last else x)

    def loss(self, tokens: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(self(tokens).flatten(0, 1), targets.flatten())

    @torch.no_grad()
    def generate(self, tokens: Tensor, n_tokens: int) -> Tensor:
        for _ in range(n_tokens):
            logits = self(tokens[:, -self.context :], last=True)[:, -1]
            tokens = torch.cat([tokens, torch.multinomial(logits.softmax(-1), 1)], 1)
        return tokens
