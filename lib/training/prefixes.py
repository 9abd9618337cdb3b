"""The scored tokens' logits with each distinct prefix of a batch computed once: the same numbers for less work.

Skip this file at first: `logits_of_scored` gives what `Transformer.forward` gives, and the tests hold the two together.

A causal model's state at a position depends on the tokens up to there alone. Two equations with one dividend share:

    12 / 5 =        prefixes   12    12 /    12 / 5    12 / 5 =
    12 / 7 =                   12    12 /    12 / 7    12 / 7 =

Both rows have the prefixes "12" and "12 /", so six states stand for eight. Of 512 equations modulo 97 there are only 97
prefixes "a" and as many "a /". Before the first block a state depends on one token and its position alone, so there are
196 of those. The last block is asked at the scored tokens only, here at "=".
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lib.data import IGNORE, Batch, Scoring
from lib.language.networks import Network
from lib.model import Attention, Block, Transformer, rotate
from lib.objective import Scored
from lib.objective import scored_logits as plain_logits


def scored_logits(model: Network, batch: Batch, scoring: Scoring) -> Scored:
    """`lib.objective.scored_logits`, by shared prefixes where these apply.

    Prefixes are shared by transformers without dropout: one mask would be drawn for all that share a prefix. On a GPU
    the search for prefixes would take longer than it saves.
    """
    drops = model.config.dropout and model.training
    sharing = isinstance(model, Transformer) and not drops and not batch.tokens.is_cuda
    if sharing and scoring in ("last", "few"):
        scored = batch.targets != IGNORE
        return logits_of_scored(model, batch.tokens, scored), batch.targets[scored]
    return plain_logits(model, batch, scoring)


@dataclass(frozen=True)
class Prefixes:
    """The distinct prefixes that a batch's scored tokens need, one node each, first those of length 1, then 2, …

    A table is a list of states, one a row: first one per distinct (position, token), later one per node.
    """

    tokens: Tensor  # (M,) token of each distinct (position, token)
    positions: Tensor  # (M,) its position
    node_positions: Tensor  # (N,) last position of each node's prefix
    first: list[Tensor]  # per length t + 1: rows (U_t, t + 1) in the table of (position, token), along each prefix
    later: list[Tensor]  # the same as rows in the table of nodes
    ends: list[Tensor]  # per length: which of its nodes end at a scored token; the last block computes those alone
    of_scored: Tensor  # (n,) for each scored token, row by row, its place among the ends of all lengths


def find_prefixes(tokens: Tensor, scored: Tensor, vocab_size: int) -> Prefixes:
    """tokens: (B, T) int64; scored: (B, T) bool, where a logit is wanted."""
    B, T = tokens.shape
    needed = scored.flip(1).cumsum(1).flip(1) > 0  # (B, T): a scored token comes here or later
    distinct, first, later, ends = [], [], [], []
    prefix = tokens.new_zeros(B)  # which distinct prefix each row has, up to the position before
    rows_first, rows_later = [], []  # per position: for each row of the batch, its row in either table
    place_of_end = tokens.new_zeros(B, T)
    n_distinct = n_nodes = n_ends = 0
    n_prefixes = 1
    for t in range(int(needed.any(0).sum())):
        here = needed[:, t].nonzero()[:, 0]
        token = tokens[:, t].index_select(0, here)
        ids, place = unique(token, vocab_size)
        distinct.append(ids)
        rows_first.append(tokens.new_zeros(B).index_copy_(0, here, n_distinct + place))
        n_distinct += len(ids)
        longer = prefix.index_select(0, here) * vocab_size + token
        nodes, node = unique(longer, n_prefixes * vocab_size)
        prefix.index_copy_(0, here, node)
        rows_later.append(n_nodes + prefix)
        n_prefixes = len(nodes)
        n_nodes += n_prefixes
        example = tokens.new_empty(n_prefixes).scatter_(0, node, here)
        first.append(torch.stack(rows_first, 1).index_select(0, example))
        later.append(torch.stack(rows_later, 1).index_select(0, example))
        wanted = scored[:, t].nonzero()[:, 0]
        end, place = unique(prefix.index_select(0, wanted), n_prefixes)
        ends.append(end)
        place_of_end[:, t].index_copy_(0, wanted, n_ends + place)
        n_ends += len(end)
    positions = torch.cat([ids.new_full((len(ids),), t) for t, ids in enumerate(distinct)])
    node_positions = torch.cat([along.new_full((len(along),), t) for t, along in enumerate(first)])
    return Prefixes(torch.cat(distinct), positions, node_positions, first, later, ends, place_of_end[scored])


def unique(numbers: Tensor, limit: int) -> tuple[Tensor, Tensor]:
    """The distinct ones of `numbers` (n,), all below `limit`, and the place of each among them, without a sort."""
    seen = numbers.new_zeros(limit, dtype=torch.bool).index_fill_(0, numbers, True)
    distinct = seen.nonzero()[:, 0]
    places = numbers.new_empty(limit).scatter_(0, distinct, torch.arange(len(distinct), device=numbers.device))
    return distinct, places.index_select(0, numbers)


def logits_of_scored(model: Transformer, tokens: Tensor, scored: Tensor) -> Tensor:
    """Logits (n, V) of the scored tokens, row by row: `model(tokens)[scored]`. Padding on the right is never read.

    tokens: (B, T) int64; scored: (B, T) bool. The model must draw no dropout: see `scored_logits`.
    """
    prefixes = find_prefixes(tokens, scored, model.embed.num_embeddings)
    table = model.embed(prefixes.tokens)  # (M, D)
    if model.config.positions == "learned":
        table = table + model.position(prefixes.positions)
    elif model.config.positions == "sinusoidal":
        table = table + model.sinusoids[prefixes.positions]
    positions, along = prefixes.positions, prefixes.first
    for i, block in enumerate(model.blocks):
        if i == len(model.blocks) - 1:
            along = [rows[end] for rows, end in zip(along, prefixes.ends, strict=True) if len(end)]
        table = block_on_table(block, table, positions, along)
        positions, along = prefixes.node_positions, prefixes.later
    return model.logits(table)[prefixes.of_scored]


def block_on_table(block: Block, table: Tensor, positions: Tensor, along: list[Tensor]) -> Tensor:
    """`Block.forward` for the nodes whose prefixes are the rows `along` of `table` (R, D): their states (N, D)."""
    normed = block.attention_norm(table) if block.pre else table
    own = torch.cat([rows[:, -1] for rows in along])  # (N,) each node's own row
    x = table.index_select(0, own) + attend(block.attention, normed, positions, own, along)
    if block.pre:
        return x + block.feed_forward(block.feed_forward_norm(x))
    x = block.attention_norm(x)
    return block.feed_forward_norm(x + block.feed_forward(x))


def attend(attention: Attention, table: Tensor, positions: Tensor, own: Tensor, along: list[Tensor]) -> Tensor:
    """Attention of each node, in row `own` (N,) of `table`, to all tokens of its prefix: (R, D) -> (N, D)."""
    H = attention.n_heads
    few = len(own) < len(table)  # project the nodes that ask, or the whole table, whichever is less
    q = attention.query(table.index_select(0, own) if few else table).float()
    k, v = attention.key(table).float(), attention.value(table).float()  # sums in bfloat16 are slow and inexact
    if attention.rope:
        q = turn(q, positions[own] if few else positions, H)
        k = turn(k, positions, H)
    if not few:
        q = q.index_select(0, own)
    parts = zip(along, q.split([len(rows) for rows in along]), strict=True)
    return attention.out(torch.cat([PrefixAttention.apply(part, k, v, rows, H) for rows, part in parts]))


class PrefixAttention(torch.autograd.Function):
    """Softmax attention of U nodes to the S tokens of their prefixes, which are rows of tables of keys and values.

    The gradient is written out because autograd's own is slower, by some 7 % of a step in bfloat16. R rows in a table,
    H heads of size d = D / H; weights w (U, S, H) sum to one over S.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, rows: Tensor, H: int) -> Tensor:
        """q (U, D), k and v (R, D), rows (U, S) of the tables -> (U, D)."""
        (U, S), D = rows.shape, q.shape[1]
        flat = rows.flatten()
        keys, values = (table.index_select(0, flat).view(U, S, H, D // H) for table in (k, v))
        queries = q.view(U, 1, H, D // H)
        w = ((keys * queries).sum(-1) * (D // H) ** -0.5).softmax(1)
        ctx.save_for_backward(queries, keys, values, w, flat)
        ctx.n_rows = len(k)
        return (w[..., None] * values).sum(1).view(U, D)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        queries, keys, values, w, flat = ctx.saved_tensors
        U, S, H, d = keys.shape
        grad = grad.view(U, 1, H, d)
        grad_w = (values * grad).sum(-1)
        grad_scores = w * (grad_w - (w * grad_w).sum(1, keepdim=True)) * d**-0.5  # through softmax and scale
        grad_q = (grad_scores[..., None] * keys).sum(1).view(U, H * d)
        to_table = grad.new_zeros(2, ctx.n_rows, H * d)
        to_table[0].index_add_(0, flat, (grad_scores[..., None] * queries).view(U * S, H * d))
        to_table[1].index_add_(0, flat, (w[..., None] * grad).view(U * S, H * d))
        return grad_q, to_table[0], to_table[1], None, None


def turn(x: Tensor, positions: Tensor, n_heads: int) -> Tensor:
    """Rotary encoding of (R, D) queries or keys, head by head."""
    heads = x.view(1, len(x), n_heads, -1).transpose(1, 2)
    return rotate(heads, positions).transpose(1, 2).reshape(x.shape)
