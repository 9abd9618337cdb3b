"""A decoder-only transformer. Its options cover the handout's starter, Power et al.'s network and GPT-2."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lib.cache import LayerCache
from lib.config import ModelConfig

Tokens = Int[Tensor, "B T"]
Lengths = Int[Tensor, " B"] | None
Cache = list[LayerCache] | None
Mask = Bool[Tensor, "#B 1 _ K"] | None  # True where a query may look at a key


class Transformer(nn.Module):
    """Token ids in, logits of the next token out.

    Names in the shapes: B sequences, T tokens, Q queries (T, or 1 if only the last token is asked), K keys,
    D = d_model, H heads of size d = D / H, V tokens in the vocabulary.
    """

    sinusoids: Tensor

    def __init__(self, config: ModelConfig, vocab_size: int) -> None:
        super().__init__()
        self.config = config
        self.checkpointing = False  # True: training stores each block's input only and recomputes the rest
        self.embed = nn.Embedding(vocab_size, config.d_model)
        if config.positions == "learned":
            self.position = nn.Embedding(config.context_length, config.d_model)
        elif config.positions == "sinusoidal":
            self.register_buffer("sinusoids", sinusoids(config.context_length, config.d_model), persistent=False)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.final_norm = make_norm(config) if config.norm_placement == "pre" else nn.Identity()
        self.unembed = nn.Linear(config.d_model, vocab_size, bias=False)
        initialise(self, config)
        if config.tied:
            del self.unembed  # drawn all the same, so that tied and untied networks begin with the same blocks
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(not (config.frozen_embeddings and name in ("embed.weight", "position.weight")))

    def new_cache(self, batch_size: int) -> list[LayerCache]:
        """An empty cache for so many sequences, one for each block, on the model's device."""
        config, new = self.config, self.embed.weight.new_empty
        shape = (batch_size, config.n_heads, config.context_length, config.d_model // config.n_heads)
        return [LayerCache(new(shape), new(shape)) for _ in self.blocks]

    def forward(
        self, tokens: Tokens, lengths: Lengths = None, last: bool = False, cache: Cache = None
    ) -> Float[Tensor, "B *T V"]:
        """Logits of the token after each token, (B, T, V); with `last=True` after each sequence's last only, (B, V).

        tokens: padded on the right. lengths: tokens before the padding, or None without padding. Padding is never
        attended to, and logits at padded positions mean nothing. `last=True` gives what the full forward gives at
        those positions, and the last block computes no more than they need.

        With a `cache` the tokens continue those read before, and all of them must fit into the
        context. The logits are what the full forward gives at the new positions; the cache then holds the new tokens
        too. A cache is for inference, without gradients, and for sequences of one length: `lengths` must be None.
        """
        return self.logits(self.states(tokens, lengths, last, cache))

    def states(
        self, tokens: Tokens, lengths: Lengths = None, last: bool = False, cache: Cache = None
    ) -> Float[Tensor, "B *T D"]:
        """The last block's output, for the arguments of `forward`."""
        B, T = tokens.shape
        past = 0 if cache is None else cache[0].past
        layers: list = cache or [None] * len(self.blocks)
        x = self.embed(tokens)
        if self.config.positions == "learned":
            x = x + self.position.weight.narrow(0, past, T)
        elif self.config.positions == "sinusoidal":
            x = x + self.sinusoids.narrow(0, past, T)
        x = self.dropout(x)
        # the kernel's own causal mask will do, and a single token sees all before it
        plain = lengths is None and (T == 1 or (cache is None and not last))
        mask = None if plain else attention_mask(past + T, lengths, tokens.device, past)
        for block, layer in zip(self.blocks[:-1], layers[:-1], strict=True):
            x = self.through(block, x, mask, layer)
        if last:
            at = tokens.new_full((B,), T - 1) if lengths is None else lengths - 1
            return self.blocks[-1](x, mask, at, layers[-1])[:, 0]
        return self.through(self.blocks[-1], x, mask, layers[-1])

    def through(self, block: nn.Module, x: Tensor, mask: Tensor | None, cache: LayerCache | None) -> Tensor:
        """A block's output. `checkpointing` keeps the block's input alone and computes the rest twice."""
        if self.checkpointing and self.training:
            return checkpoint(block, x, mask, use_reentrant=False)
        return block(x, mask, cache=cache)

    def features(self, x: Float[Tensor, "*N D"]) -> Float[Tensor, "*N D"]:
        """The last block's output, normalised, in float32: what the output layer reads."""
        with torch.autocast(x.device.type, enabled=False):
            return self.final_norm(x.float())

    @property
    def output_weight(self) -> Float[Tensor, "V D"]:
        return self.embed.weight if self.config.tied else self.unembed.weight

    def logits(self, x: Float[Tensor, "*N D"]) -> Float[Tensor, "*N V"]:
        """The last block's output to logits, whose softmax is the prediction; in float32 under autocast, too."""
        with torch.autocast(x.device.type, enabled=False):
            return to_logits(F.linear(self.features(x), self.output_weight), self.config)


class Block(nn.Module):
    """Attention and feed-forward, each added to the residual stream; norm before (pre) or after (post) adding."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.pre = config.norm_placement == "pre"
        self.attention = Attention(config)
        self.feed_forward = FeedForward(config)
        self.attention_norm = make_norm(config)
        self.feed_forward_norm = make_norm(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, x: Float[Tensor, "B T D"], mask: Mask, at: Lengths = None, cache: LayerCache | None = None
    ) -> Float[Tensor, "B Q D"]:
        """The block's output at all T tokens; with `at`, of each sequence only at its token `at`."""
        keys = self.attention_norm(x) if self.pre else x
        queries, rows = keys, x
        if at is not None and mask is not None:
            every = torch.arange(len(at), device=at.device)
            queries, rows = keys[every, at, None], x[every, at, None]
            mask = mask.expand(len(at), -1, -1, -1)[every, :, at, None]  # (B, 1, 1, K)
        x = rows + self.dropout(self.attention(queries, keys, mask, at, cache))
        if self.pre:
            return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        x = self.attention_norm(x)
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))


class Attention(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.n_heads, self.p_drop = config.n_heads, config.dropout
        self.query = nn.Linear(config.d_model, config.d_model, bias=config.qkv_bias)
        self.key = nn.Linear(config.d_model, config.d_model, bias=config.qkv_bias)
        self.value = nn.Linear(config.d_model, config.d_model, bias=config.qkv_bias)
        self.out = nn.Linear(config.d_model, config.d_model, bias=config.bias)
        self.rope = config.positions == "rope"

    def forward(
        self,
        queries: Float[Tensor, "B Q D"],
        keys: Float[Tensor, "B T D"],
        mask: Mask,
        at: Lengths,
        cache: LayerCache | None = None,
    ) -> Float[Tensor, "B Q D"]:
        """keys: input of the key and value projections. queries: all T rows of `keys`, or each sequence's row `at`.

        A query attends to the tokens in the cache, if there is one, and to these T. Without a mask a query looks at
        the tokens up to itself.
        """
        q, k, v = self.heads(self.query(queries)), self.heads(self.key(keys)), self.heads(self.value(keys))
        if self.rope:
            past = 0 if cache is None else cache.past
            positions = torch.arange(past, past + keys.shape[1], device=keys.device)
            k = rotate(k, positions)
            q = rotate(q, positions if at is None else positions[at, None, None])
        if cache is not None:
            k, v = cache.extend(k, v)
        causal = mask is None and queries.shape[1] > 1
        x = F.scaled_dot_product_attention(q, k, v, mask, self.p_drop if self.training else 0.0, causal)
        return self.out(x.transpose(1, 2).flatten(2))

    def heads(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B H T d"]:
        return x.unflatten(2, (self.n_heads, -1)).transpose(1, 2)


class FeedForward(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        kinds: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "relu": F.relu, "swiglu": F.silu}
        self.activation = kinds.get(config.activation) or nn.GELU("tanh")
        self.up = nn.Linear(config.d_model, config.d_ff, bias=config.bias)
        self.down = nn.Linear(config.d_ff, config.d_model, bias=config.bias)
        self.gate = nn.Linear(config.d_model, config.d_ff, bias=config.bias) if config.activation == "swiglu" else None

    def forward(self, x: Float[Tensor, "*N D"]) -> Float[Tensor, "*N D"]:
        if self.gate is None:
            return self.down(self.activation(self.up(x)))
        return self.down(self.activation(self.gate(x)) * self.up(x))  # Shazeer 2020, arXiv 2002.05202


def to_logits(z: Float[Tensor, "*N V"], config: ModelConfig) -> Float[Tensor, "*N V"]:
    """Products with the output layer's rows, divided by the temperature, to logits, whose softmax is the prediction.

    StableMax (Prieto et al. 2025, arXiv 2501.04697) is the softmax of sign(z) log(1 + |z|). The exponential of that
    grows linearly in z, so that float32 does not lose small probabilities.
    """
    z = z if config.temperature == 1 else z / config.temperature
    return z.sign() * z.abs().log1p() if config.output == "stablemax" else z


def make_norm(config: ModelConfig) -> nn.Module:
    kinds = {"layernorm": nn.LayerNorm, "rmsnorm": nn.RMSNorm, "none": nn.Identity}
    return kinds[config.norm](config.d_model, **({"eps": config.norm_eps} if config.norm_eps else {}))


def attention_mask(K: int, lengths: Lengths, device: torch.device, past: int = 0) -> Bool[Tensor, "#B 1 T K"]:
    """True where query i, from `past` on, may look at key j: j <= i, and j is no padding."""
    position = torch.arange(K, device=device)
    causal = (position[None, :] <= position[past:, None])[None, None]
    return causal if lengths is None else causal & (position < lengths[:, None])[:, None, None]


def sinusoids(length: int, d_model: int) -> Float[Tensor, "length d_model"]:
    """Fixed position encodings of Vaswani et al. 2017 (arXiv 1706.03762, section 3.5)."""
    angle = torch.arange(length)[:, None] / 10_000 ** (torch.arange(0, d_model, 2) / d_model)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)


def rotate(x: Float[Tensor, "*B Q d"], positions: Int[Tensor, "*#P Q"]) -> Float[Tensor, "*B Q d"]:
    """Rotary position encoding of queries or keys (Su et al. 2021, arXiv 2104.09864).

    positions: broadcast against all dimensions of x but the last.
    """
    d = x.shape[-1]
    frequency = 10_000 ** (-torch.arange(0, d, 2, device=x.device) / d)
    angle = positions[..., None] * frequency
    cos, sin = angle.cos(), angle.sin()
    even, odd = x[..., ::2], x[..., 1::2]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)


def initialise(model: Transformer, config: ModelConfig) -> None:
    """Initial weights.

    "gpt2": all weights N(0, 0.02), biases 0, and projections into the residual stream smaller by sqrt(2 n_layers)
    (Radford et al. 2019). "torch": PyTorch's own, uniform linear layers and N(0, 1) embeddings, as the code of
    Power et al. 2022. `init_scale` multiplies either; the norms' gains stay 1.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            if config.init == "gpt2":
                into_residual = name.endswith(("attention.out", "feed_forward.down"))
                nn.init.normal_(module.weight, std=0.02 / math.sqrt(2 * config.n_layers) if into_residual else 0.02)
                if isinstance(module, nn.Linear) and module.bias is not None:
                    nn.init.zeros_(module.bias)
            for parameter in module.parameters():
                parameter.data *= config.init_scale
