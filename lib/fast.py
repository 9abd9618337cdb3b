"""The answer's logits with each distinct prefix of a batch computed once: the same numbers for less work.

In a causal model the hidden state at a position depends on the tokens up to there and on nothing else. Of 512
equations "a / b =" modulo 97 there are only 97 distinct beginnings "a" and as many "a /", so most of what
`Transformer.forward` computes at the first two positions it computes five times over. And before the first block a
state depends on one token and its position alone, of which there are 196. `Transformer.forward(…, last=True)` is the
reference; the tests hold the two together.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.model import Attention, Block, Transformer, rotate


@dataclass(frozen=True)
class Prefixes:
    """The distinct prefixes of a batch, one node each, those of length 1 first, then length 2, …

    A table is a list of states, one a row: first one per distinct (position, token), later one per node.
    """

    tokens: Tensor  # (M,) token of each distinct (position, token)
    positions: Tensor  # (M,) its position
    node_positions: Tensor  # (N,) last position of each node's prefix
    first: list[Tensor]  # per length t + 1: rows (U_t, t + 1) in the table of (position, token), along each prefix
    later: list[Tensor]  # the same as rows in the table of nodes
    of_row: Tensor  # (B,) for each sequence of the batch, its place among the nodes of full length


def find_prefixes(tokens: Tensor, vocab_size: int) -> Prefixes:
    """tokens: (B, T) int64."""
    B, T = tokens.shape
    distinct, first, later = [], [], []
    prefix = tokens.new_zeros(B)  # which distinct prefix each row has, up to the position before
    rows_first, rows_later = [], []  # per position: for each row of the batch, its row in either table
    n_distinct = n_nodes = 0
    for t in range(T):
        ids, place = tokens[:, t].unique(return_inverse=True)
        distinct.append(ids)
        rows_first.append(n_distinct + place)
        n_distinct += len(ids)
        nodes, prefix = (prefix * vocab_size + tokens[:, t]).unique(return_inverse=True)
        rows_later.append(n_nodes + prefix)
        n_nodes += len(nodes)
        example = tokens.new_empty(len(nodes)).scatter_(0, prefix, torch.arange(B, device=tokens.device))
        first.append(torch.stack(rows_first, 1)[example])
        later.append(torch.stack(rows_later, 1)[example])
    positions = torch.cat([ids.new_full((len(ids),), t) for t, ids in enumerate(distinct)])
    node_positions = torch.cat([along.new_full((len(along),), t) for t, along in enumerate(first)])
    return Prefixes(torch.cat(distinct), positions, node_positions, first, later, prefix)


def answer_logits(model: Transformer, tokens: Tensor) -> Tensor:
    """Logits (B, V) of each sequence's last token: `model(tokens, last=True)`, for unpadded `tokens` (B, T).

    Dropout would draw one mask for all that share a prefix, so a model with dropout must take the plain way.
    """
    prefixes = find_prefixes(tokens, model.embed.num_embeddings)
    table = model.embed(prefixes.tokens)  # (M, D)
    if model.config.positions == "learned":
        table = table + model.position(prefixes.positions)
    elif model.config.positions == "sinusoidal":
        table = table + model.sinusoids[prefixes.positions]
    positions, along = prefixes.positions, prefixes.first
    for i, block in enumerate(model.blocks):
        last = i == len(model.blocks) - 1
        table = block_on_table(block, table, positions, along[-1:] if last else along)
        positions, along = prefixes.node_positions, prefixes.later
    return model.logits(table)[prefixes.of_row]


def block_on_table(block: Block, table: Tensor, positions: Tensor, along: list[Tensor]) -> Tensor:
    """`Block.forward` for the nodes whose prefixes are the rows `along` of `table` (R, D): their states (N, D)."""
    normed = block.attention_norm(table) if block.pre else table
    own = torch.cat([rows[:, -1] for rows in along])  # (N,) each node's own row
    x = table.index_select(0, own) + attend(block.attention, normed, positions, along)
    if block.pre:
        return x + block.feed_forward(block.feed_forward_norm(x))
    x = block.attention_norm(x)
    return block.feed_forward_norm(x + block.feed_forward(x))


def attend(attention: Attention, table: Tensor, positions: Tensor, along: list[Tensor]) -> Tensor:
    """Attention of each node's last token to all tokens of its prefix: (R, D) -> (N, D)."""
    H, D = attention.n_heads, table.shape[1]
    asking = along[0][:, -1] if len(along) == 1 else None  # of one length only (the last block): those alone ask
    q = attention.query(table if asking is None else table.index_select(0, asking)).float()
    k, v = attention.key(table).float(), attention.value(table).float()  # sums in bfloat16 are slow and inexact
    if attention.rope:
        q = turn(q, positions if asking is None else positions[asking], H)
        k = turn(k, positions, H)
    out = []
    for rows in along:  # (U, S): U nodes with a prefix of S tokens
        U, S = rows.shape
        q_own = q if asking is not None else q.index_select(0, rows[:, -1])
        keys, values = (F.embedding(rows, x).view(U, S, H, D // H) for x in (k, v))
        scores = (keys * q_own.view(U, 1, H, D // H)).sum(-1) * (D // H) ** -0.5  # (U, S, H)
        out.append((scores.softmax(1)[..., None] * values).sum(1).view(U, D))
    return attention.out(torch.cat(out))


def turn(x: Tensor, positions: Tensor, n_heads: int) -> Tensor:
    """Rotary encoding of (R, D) queries or keys, head by head."""
    heads = x.view(1, len(x), n_heads, -1).transpose(1, 2)
    return rotate(heads, positions).transpose(1, 2).reshape(x.shape)
