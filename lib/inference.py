"""Sampling from a checkpoint, and `python -m lib.inference PATH [N]`, its command line."""

import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lib import arithmetic, checkpoint, distributed
from lib.bpe import Separated, Special
from lib.config import DataConfig, RunConfig
from lib.data import IGNORE, collate
from lib.evaluate import evaluating
from lib.fields import Parser, UserError, one_line_errors
from lib.machine import check_device
from lib.networks import Cache, Network
from lib.tokenizer import CharacterTokenizer, Tokenizer

DEFAULT_TOKENS = 100  # a text model's sample, if N is not given
DEFAULT_EQUATIONS = 10


def generate(
    model: Network,
    tokens: Tensor,
    n_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    eos: int | None = None,
    seed: int | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Continue each of the B sequences in `tokens` (B, T) by up to `n_tokens`.

    Yields, per new token, the ids (B,) and their probabilities (B,) under the distribution they were drawn from;
    stops early when every sequence has met `eos`, and goes on with eos in those that have. Temperature 0 takes the
    likeliest token. Each token is read once; beyond the model's context, the last `context_length` tokens are all read
    again for each new one. `seed` makes the sample repeatable.
    """
    if n_tokens < 1:
        raise UserError(f"N = {n_tokens}: must be at least 1")
    if temperature != 0 and not 1e-3 <= temperature <= 1e3:
        raise UserError(f"temperature = {temperature}: must be 0, or from 0.001 to 1000")
    if seed is not None and not 0 <= seed < 2**63:
        raise UserError(f"seed = {seed}: must be from 0 to 2^63 - 1")
    if top_k is not None and top_k < 1:
        raise UserError(f"top-k = {top_k}: must be at least 1")
    generator = None if seed is None else torch.Generator(tokens.device).manual_seed(seed)
    done = torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device)
    model.eval()
    cache = model.new_cache(len(tokens))
    for _ in range(n_tokens):
        logits = next_logits(model, tokens, cache)  # (B, V)
        if top_k is not None:
            kth = logits.topk(min(top_k, logits.shape[1])).values[:, -1:]
            logits = logits.masked_fill(logits < kth, -torch.inf)
        if temperature == 0:
            probabilities = torch.softmax(logits, -1)
            ids = logits.argmax(-1)
        else:
            probabilities = torch.softmax(logits / temperature, -1)
            ids = torch.multinomial(probabilities, 1, generator=generator)[:, 0]
        ids = distributed.agreed(ids)
        chosen = probabilities.gather(1, ids[:, None])[:, 0]
        if eos is not None:
            ids = torch.where(done, eos, ids)
            done |= ids == eos
        yield ids, chosen
        if bool(done.all()):
            return
        tokens = torch.cat([tokens, ids[:, None]], 1)


@torch.no_grad()
def next_logits(model: Network, tokens: Tensor, cache: Cache | None = None) -> Tensor:
    """Logits (B, V) of the token after `tokens` (B, T), of which a cache has read the first `cache.past`.

    Beyond the context the tokens that are read move on by one with each new token, and with them every position: what
    the cache holds is of no use there.
    """
    C = model.config.context_length
    if cache is None or tokens.shape[1] > C:
        return model(tokens[:, -C:], last=True)
    return model(tokens[:, cache.past :], last=True, cache=cache)


def sample(
    model: Network,
    tokenizer: Tokenizer,
    prompt: str = "",
    n_tokens: int = DEFAULT_TOKENS,
    *,
    samples: int = 1,
    temperature: float = 1.0,
    top_k: int | None = None,
    seed: int | None = None,
    special: Special = "refuse",
) -> list[str]:
    """`samples` texts of at most `n_tokens` new tokens, each beginning with `prompt` and ending before <eos>.

    `special`: what "<|endoftext|>" in the prompt is (lib.bpe). GPT-1's tokens give the prompt back in lower case.
    """
    if samples < 1:
        raise UserError(f"samples = {samples}: must be at least 1")
    ids = encode_prompt(model, tokenizer, prompt, special)
    tokens = torch.tensor([ids] * samples, device=next(model.parameters()).device)
    options = dict(temperature=temperature, top_k=top_k, eos=tokenizer.eos, seed=seed)
    new = torch.stack([ids for ids, _ in generate(model, tokens, n_tokens, **options)], 1).tolist()
    ends = [row.index(tokenizer.eos) if tokenizer.eos in row else len(row) for row in new]
    given = ids[tokenizer.bos is not None :]  # decoded with what follows: a character may have bytes in both
    return [tokenizer.decode(given + row[:end]) for row, end in zip(new, ends, strict=True)]


def spell(model: Network, tokenizer: Tokenizer, prompt: str, n_tokens: int, **options: Any) -> list[tuple[str, float]]:
    """One sample as its new tokens and the probability of each; the last may be "<eos>". Options: `generate`."""
    tokens = torch.tensor([encode_prompt(model, tokenizer, prompt)], device=next(model.parameters()).device)
    new = [(int(ids), float(p)) for ids, p in generate(model, tokens, n_tokens, eos=tokenizer.eos, **options)]
    return [("<eos>" if token == tokenizer.eos else tokenizer.decode([token]), p) for token, p in new]


def encode_prompt(model: Network, tokenizer: Tokenizer, prompt: str, special: Special = "refuse") -> list[int]:
    """The ids of <bos> and the prompt. Raises UserError if the model cannot read that many, or what it stands for."""
    if special != "refuse" and not isinstance(tokenizer, Separated):
        raise UserError(f"special = {special!r}: must be 'refuse' for a network without byte pairs")
    given = tokenizer.encode(prompt) if special == "refuse" else tokenizer.encode(prompt, special)
    ids = ([] if tokenizer.bos is None else [tokenizer.bos]) + given
    if not ids:
        raise UserError("prompt '': must not be empty: the network has seen no beginning of a text")
    if len(ids) > model.config.context_length:
        room = model.config.context_length - len(ids) + len(given)
        raise UserError(f"prompt {prompt!r}: {len(given)} tokens; must be at most {room}")
    return ids


def parse_equation(data: DataConfig, prompt: str) -> tuple[int, int]:
    """The operands a and b of a prompt such as "12/5=", whose "=" may be left out.

    Raises UserError if it is none that a model of this data can answer.
    """
    parts = re.fullmatch(r"(-?\d+)([-+/])(-?\d+)=?", "".join(prompt.split()), re.ASCII)
    example = f"a{data.operation}b= with a and b from 0 to {data.p - 1}, such as 12{data.operation}5="
    if parts is None:
        raise UserError(f"prompt {prompt!r}: must be {example}")
    a, b = int(parts[1]), int(parts[3])
    if parts[2] != data.operation:
        raise UserError(f"prompt {prompt!r}: this network knows {data.operation} only; must be {example}")
    for name, number in (("a", a), ("b", b)):
        if not 0 <= number < data.p:
            raise UserError(f"prompt {prompt!r}: {name} = {number}: must be from 0 to {data.p - 1}")
    if data.operation == "/" and b == 0:
        raise UserError(f"prompt {prompt!r}: nothing can be divided by 0; must be {example} and b not 0")
    return a, b


def answer(model: Network, tokenizer: Tokenizer, data: DataConfig, a: int, b: int) -> Tensor:
    """The model's probability (p,) of each number as the answer to a o b.

    With a token per character: that of all of its digits and the end. The rest to 1 is spent on no number at all.
    """
    ends = [tokenizer.eos] if isinstance(tokenizer, CharacterTokenizer) else []
    rows = [tokenizer.encode(f"{a}{data.operation}{b}={c}") + ends for c in range(data.p)]
    equals = tokenizer.encode("=")[0]
    batch = collate(rows, [ids.index(equals) for ids in rows], tokenizer.pad)
    batch = batch.to(next(model.parameters()).device)
    with evaluating(model):
        log_p = model(batch.tokens, batch.lengths).log_softmax(-1)  # (p, T, V)
    scored = batch.targets != IGNORE
    chosen = log_p.gather(2, batch.targets.clamp(min=0)[..., None])[..., 0]  # (p, T)
    return (chosen * scored).sum(1).exp().cpu()


def describe_answer(config: RunConfig, a: int, b: int, probabilities: Tensor) -> str:
    """ "12/5=80   P 0.9998   right, unseen (test split)   (then 41: 0.0001, …)"."""
    data = config.data
    top = probabilities.topk(min(4, data.p))
    best, *others = zip(top.indices.tolist(), top.values.tolist(), strict=True)
    true, where = right_answer(data, a, b)
    verdict = "right" if best[0] == true else f"wrong, it is {true}"
    seen = "seen in training" if where == "train" else f"unseen ({where} split)"
    then = ", ".join(f"{c}: {p:.2g}" for c, p in others)
    return f"{a}{data.operation}{b}={best[0]}   P {best[1]:.4f}   {verdict}, {seen}   (then {then})"


def right_answer(data: DataConfig, a: int, b: int) -> tuple[int, str]:
    """c of a o b = c, and the split that the equation is in; "no" where data.skip_zero leaves it out."""

    def among(rows: np.ndarray) -> np.ndarray:
        return rows[(rows[:, 0] == a) & (rows[:, 1] == b), 2]

    [true] = among(arithmetic.equations(data.operation, data.p))
    return int(true), next((name for name, rows in arithmetic.split(data).items() if len(among(rows))), "no")


def random_equations(data: DataConfig, n: int, seed: int | None) -> list[tuple[int, int]]:
    rows = arithmetic.equations(data.operation, data.p)[:, :2].tolist()
    return [tuple(row) for row in random.Random(seed).sample(rows, min(n, len(rows)))]


def parser() -> Parser:
    result = Parser(
        prog="python -m lib.inference",
        description="Sample from a checkpoint: text, or the answers to equations.",
        allow_abbrev=False,
    )
    result.add_argument("path", metavar="PATH", help="a run folder, or its weights file")
    n_help = f"text: tokens at most (default {DEFAULT_TOKENS}); equations: how many random ones ({DEFAULT_EQUATIONS})"
    result.add_argument("n", metavar="N", nargs="?", type=int, help=n_help)
    result.add_argument("--prompt", help='text to continue, or an equation to answer, such as "12/5="')
    result.add_argument("--temperature", type=float, help="text: 0 takes the likeliest (default 1)")
    result.add_argument("--top-k", type=int, help="text: draw from the k likeliest tokens only")
    result.add_argument("--samples", type=int, help="text: how many (default 1)")
    special = "text: what <|endoftext|> in the prompt is: refuse it (default), text, or token"
    result.add_argument("--special", help=special)
    result.add_argument("--seed", type=int, help="makes the sample, or the choice of equations, repeatable")
    result.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    return result


@one_line_errors
def main(argv: list[str] | None = None) -> int:
    args = parser().parse(argv)
    check_device(args.device)
    if args.n is not None and args.n < 1:
        raise UserError(f"N = {args.n}: must be at least 1")
    model, tokenizer, config = checkpoint.load_weights(Path(args.path), args.device)
    if config.data.task != "arithmetic":
        options = {name: getattr(args, name) for name in ("samples", "temperature", "top_k", "seed", "special")}
        given = {name: value for name, value in options.items() if value is not None}
        for text in sample(model, tokenizer, args.prompt or "", args.n or DEFAULT_TOKENS, **given):
            print(text)
    else:
        for name in ("samples", "temperature", "top_k", "special"):
            if getattr(args, name) is not None:
                raise UserError(f"--{name.replace('_', '-')}: for text models only; this one answers equations")
        if args.prompt is not None:
            pairs = [parse_equation(config.data, args.prompt)]
        else:
            pairs = random_equations(config.data, args.n or DEFAULT_EQUATIONS, args.seed)
        for a, b in pairs:
            print(describe_answer(config, a, b, answer(model, tokenizer, config.data, a, b)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
