"""The scored tokens' logits with the beginnings that equations share computed once: the same numbers for less work.

Skip this file at first: `SharedPrefixes` gives what `lib.objective.scored_logits` gives, and the tests hold the two
together.

A causal model's state at a position depends on the tokens up to there alone. Two equations with one dividend share:

    12 / 5 =        states of   12    12 /    12 / 5    12 / 5 =
    12 / 7 =                    12    12 /    12 / 7    12 / 7 =

Six states stand for eight. All equations modulo 97 have 97 beginnings "a /", and a batch of 512 has nearly all of them.
So a batch needs two states of each beginning, and two of each equation, at its own tokens. Before the first block a
state depends on one token and its position alone, so there are 195 of those. The last block is asked at the scored
tokens only, here at "=".

As many states are computed for each batch, whatever its equations: for each new size of a product the CPU's library
would first write a new program, and that takes longer than a step.

States are the rows of tables: of the first table one per distinct (position, token), of later ones the beginnings' and
then the batch's own. B sequences of T tokens; N states to compute from R rows; H heads of size d = D / H.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.data import IGNORE, Batch, Dataset, Scoring
from lib.language.networks import Network
from lib.model import Attention, Block, Transformer, rotate
from lib.objective import Scored, ScoredLogits, scored_logits

EVAL_STATES = 1024  # at a time through a feed-forward layer in evaluations: what it computes stays in the cache
MOST_KEYS = 2**20  # entries of the array in which beginnings are looked up


def fastest(network: Network, data: Dataset) -> ScoredLogits:
    """`scored_logits`, or a faster function of the same result: for transformers on a CPU, where few tokens are scored.

    A GPU computes whole sequences sooner.
    """
    on_cpu = not data.splits["train"].tokens.is_cuda
    shares = isinstance(network, Transformer) and on_cpu and data.scoring in ("last", "few")
    return SharedPrefixes(data) if shares else scored_logits


class Beginnings:
    """The n distinct ones among the beginnings (n_all, depth) of some sequences."""

    def __init__(self, tokens: Tensor, vocab_size: int) -> None:
        self.depth, self.place_values = tokens.shape[1], vocab_size ** torch.arange(tokens.shape[1])
        keys, which = torch.unique((tokens * self.place_values).sum(1), return_inverse=True)
        self.tokens = tokens.new_empty(len(keys), self.depth).index_copy_(0, which, tokens).t()  # (depth, n)
        self.number = keys.new_zeros(vocab_size**self.depth).index_copy_(0, keys, torch.arange(len(keys)))
        self.rows = torch.arange(self.tokens.numel()).view(self.tokens.shape)  # in later tables, by position

    def later_rows(self, tokens: Tensor) -> Tensor:
        """Where later tables hold the tokens (B, T) of some sequences: (T, B)."""
        keys, B = (tokens[:, : self.depth] * self.place_values).sum(1), len(tokens)
        own = torch.arange(tokens.numel() - self.depth * B).view(-1, B) + self.rows.numel()
        return torch.cat([self.rows.index_select(1, self.number.index_select(0, keys)), own])

    def saving(self, n_sequences: int) -> int:
        """How many states fewer there are to compute if so many sequences share them."""
        return self.depth * n_sequences - self.rows.numel()


@dataclass(frozen=True)
class Sequences:
    """Some sequences of which a block computes the states from position `start` on, in the order of positions."""

    rows: Tensor  # (T, B) where the block's table holds their tokens
    start: int


class SharedPrefixes:
    """`lib.objective.scored_logits` for the sequences of one data set."""

    def __init__(self, data: Dataset) -> None:
        V, splits = data.tokenizer.vocab_size, data.splits.values()
        T = max(split.width for split in splits)
        tokens = torch.cat([F.pad(split.tokens, (0, T - split.width)) for split in splits])
        scored = torch.cat([F.pad(split.targets != IGNORE, (0, T - split.width)) for split in splits])
        self.asked = int(scored.any(0).nonzero()[0])  # the first position that is scored in any sequence
        occurs = torch.zeros(T, V, dtype=torch.bool)
        occurs[torch.arange(T).expand_as(tokens), tokens] = True
        self.positions, self.tokens = occurs.nonzero(as_tuple=True)  # of the rows of the first table
        self.row = occurs.flatten().cumsum(0) - 1  # of token v at position t, in place t V + v
        self.offsets = torch.arange(0, T * V, V)[:, None]
        depths = [depth for depth in range(self.asked + 1) if V**depth <= MOST_KEYS]
        self.beginnings = [Beginnings(tokens[:, :depth], V) for depth in depths]

    def __call__(self, model: Transformer, batch: Batch, scoring: Scoring) -> Scored:
        """A model that drops computes whole sequences: one mask would be drawn for all that share a state."""
        if model.config.dropout and model.training:
            return scored_logits(model, batch, scoring)
        if scoring == "last":
            return model.logits(self.states(model, batch.tokens)), batch.targets[:, -1]
        scored = batch.targets != IGNORE
        return model.logits(self.states(model, batch.tokens, places(scored, self.asked))), batch.targets[scored]

    def states(self, model: Transformer, tokens: Tensor, picked: Tensor | None = None) -> Tensor:
        """The last block's output for the tokens (B, T) from position `asked` on, or those picked of them: (N, D)."""
        shared = max(self.beginnings, key=lambda some: some.saving(len(tokens)))
        table, positions, rows = model.embed(self.tokens), self.positions, self.first_rows(tokens.t())
        if model.config.positions == "learned":
            table = table + model.position(positions)
        elif model.config.positions == "sinusoidal":
            table = table + model.sinusoids[positions]
        for i, block in enumerate(model.blocks[:-1]):
            rows_of_shared = shared.rows if i else self.first_rows(shared.tokens)
            sequences = [Sequences(rows_of_shared, 0), Sequences(rows, shared.depth)]
            table, positions = block_on_table(block, table, positions, sequences)
            rows = rows if i else shared.later_rows(tokens)
        return block_on_table(model.blocks[-1], table, positions, [Sequences(rows, self.asked)], picked)[0]

    def first_rows(self, tokens: Tensor) -> Tensor:
        """Where the first table holds each of the tokens (T, B)."""
        return self.row.index_select(0, (tokens + self.offsets[: len(tokens)]).flatten()).view(tokens.shape)


def places(scored: Tensor, start: int) -> Tensor:
    """For each scored token (B, T), row by row, its place among those from `start` on in the order of positions."""
    row, position = scored.nonzero(as_tuple=True)
    return (position - start) * len(scored) + row


def block_on_table(
    block: Block, table: Tensor, positions: Tensor, sequences: list[Sequences], picked: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """`Block.forward` for the states of the sequences, or the picked ones of them, and the positions of all.

    table: (R, D), states at `positions` (R,) -> (N, D), (N,)
    """
    own, rows, hidden, of_states = read_by(sequences)
    if picked is not None:
        own, rows, hidden = own[picked], rows[:, picked], hidden[:, picked]
    normed = block.attention_norm(table) if block.pre else table
    x = table.index_select(0, own) + attend(block.attention, normed, positions, own, rows, hidden)
    if torch.is_grad_enabled():
        return fed_forward(block, x), of_states
    return torch.cat([fed_forward(block, part) for part in x.split(EVAL_STATES)]), of_states


def fed_forward(block: Block, x: Tensor) -> Tensor:
    """The rest of `Block.forward`, once attention is added."""
    if block.pre:
        return x + block.feed_forward(block.feed_forward_norm(x))
    x = block.attention_norm(x)
    return block.feed_forward_norm(x + block.feed_forward(x))


def read_by(sequences: list[Sequences]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """For each state its own row (N,), those of its sequence (T, N), which are hidden (T, N), and its position (N,)."""
    position, hidden = layout(tuple((*some.rows.shape, some.start) for some in sequences))
    T = len(hidden)
    read = [some.rows.repeat(1, len(some.rows) - some.start) for some in sequences]
    along = torch.cat([F.pad(rows, (0, 0, 0, T - len(rows))) for rows in read], 1)
    return along.gather(0, position[None])[0], along, hidden, position


@lru_cache(maxsize=8)
def layout(shapes: tuple[tuple[int, int, int], ...]) -> tuple[Tensor, Tensor]:
    """The position of each state (N,), and which tokens come after it, (T, N), for some (T, B, start)."""
    position = torch.cat([torch.arange(start, T).repeat_interleave(B) for T, B, start in shapes])
    return position, torch.arange(max(T for T, _, _ in shapes))[:, None] > position


def attend(attention: Attention, table: Tensor, positions: Tensor, own: Tensor, rows: Tensor, hidden: Tensor) -> Tensor:
    """Attention of the states in rows `own` (N,) of the table (R, D) to `rows` (T, N) that are not hidden: (N, D)."""
    H = attention.n_heads
    if few := len(own) < len(table):  # project the states that ask, or the whole table, whichever is less
        q, k, v = attention.query(table.index_select(0, own)), attention.key(table), attention.value(table)
    else:
        q, k, v = side_by_side(table, attention.query, attention.key, attention.value).chunk(3, 1)
    q, k, v = q.float(), k.float(), v.float()  # sums in bfloat16 are slow and inexact
    if attention.rope:
        q, k = turn(q, positions[own] if few else positions, H), turn(k, positions, H)
    return attention.out(PrefixAttention.apply(q if few else q.index_select(0, own), k, v, rows, hidden, H))


def side_by_side(x: Tensor, *layers: nn.Linear) -> Tensor:
    """The outputs of several linear layers, by one product."""
    bias = None if layers[0].bias is None else torch.cat([layer.bias for layer in layers])
    return F.linear(x, torch.cat([layer.weight for layer in layers]), bias)


class PrefixAttention(torch.autograd.Function):
    """Softmax attention of N states to T tokens each, which are rows of tables of keys and values.

    The gradient is written out because autograd's own is slower, and keeps each read row. One token after the other is
    read, so that what is read stays in the cache.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, rows: Tensor, hidden: Tensor, H: int) -> Tensor:
        """q (N, D), k and v (R, D), rows (T, N), hidden (T, N) -> (N, D); weights w (T, N, H) sum to one over T."""
        N, D = q.shape
        q, scores = (q * (D // H) ** -0.5).view(N, H, -1), q.new_empty(len(rows), N, H)
        for read, score in zip(rows, scores, strict=True):
            torch.sum(q * k.index_select(0, read).view(N, H, -1), -1, out=score)
        w = scores.masked_fill_(hidden[..., None], -torch.inf).softmax(0)
        out = torch.zeros_like(q)
        for read, weight in zip(rows, w[..., None], strict=True):
            out.addcmul_(weight, v.index_select(0, read).view(N, H, -1))
        ctx.save_for_backward(q, k, v, w, rows)
        return out.view(N, D)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None, None]:
        q, k, v, w, rows = ctx.saved_tensors
        N, H, d = q.shape
        grad, grad_w = grad.view(N, H, d), torch.empty_like(w)
        grad_q, grad_k, grad_v = torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for read, weight, into in zip(rows, w[..., None], grad_w, strict=True):
            torch.sum(grad * v.index_select(0, read).view(N, H, d), -1, out=into)
            grad_v.index_add_(0, read, (weight * grad).view(N, H * d))
        grad_scores = w * (grad_w - (w * grad_w).sum(0))  # through softmax
        for read, score in zip(rows, grad_scores[..., None], strict=True):
            grad_q.addcmul_(score, k.index_select(0, read).view(N, H, d))
            grad_k.index_add_(0, read, (score * q).view(N, H * d))
        return grad_q.view(N, H * d) * d**-0.5, grad_k, grad_v, None, None, None


def turn(x: Tensor, positions: Tensor, n_heads: int) -> Tensor:
    """Rotary encoding of (R, D) queries or keys, head by head."""
    heads = x.view(1, len(x), n_heads, -1).transpose(1, 2)
    return rotate(heads, positions).transpose(1, 2).reshape(x.shape)
