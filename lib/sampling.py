"""Sampling: continue a text token by token, or ask for the answer to an equation."""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lib.config import DataConfig
from lib.data import IGNORE
from lib.objective import Network, evaluating
from lib.support.errors import UserError, shortened
from lib.tasks import encode_equations
from lib.tokenizer import Tokenizer

Prompt = str | list[int]  # text, or ids where the caller encodes it


def generate(
    model: Network,
    tokens: Int[Tensor, "B T"],
    n_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    eos: int | None = None,
    seed: int | None = None,
) -> Iterator[tuple[Int[Tensor, " B"], Float[Tensor, " B"]]]:
    """Continue each of the B sequences in `tokens` by up to `n_tokens`.

    Yields each new token's ids and their probabilities. Temperature 0 takes the likeliest token, and yields its
    probability at temperature 1. A sequence that has met `eos` goes on with eos, whose probability then means nothing;
    when all sequences have met eos, generation stops. `seed` makes the sample repeatable. Where the context ends, its
    first eighth (or one token) is forgotten, again and again: a token then follows the last seven eighths or more.
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
    C, cache = model.config.context_length, model.new_cache(len(tokens))
    for _ in range(n_tokens):
        if tokens.shape[1] > C:  # all positions change, and all is read again: so make room for some tokens at once
            tokens, cache = tokens[:, max(1, C // 8) - 1 - C :], model.new_cache(len(tokens))
        logits = next_logits(model, tokens, cache)
        if top_k is not None:
            kth = logits.topk(min(top_k, logits.shape[1])).values[:, -1:]
            logits = logits.masked_fill(logits < kth, -torch.inf)
        probabilities = torch.softmax(logits / (temperature or 1.0), -1)
        ids = torch.multinomial(probabilities, 1, generator=generator)[:, 0] if temperature else logits.argmax(-1)
        chosen = probabilities.gather(1, ids[:, None])[:, 0]
        if eos is not None:
            ids = torch.where(done, eos, ids)
            done |= ids == eos
        yield ids, chosen
        if bool(done.all()):
            return
        tokens = torch.cat([tokens, ids[:, None]], 1)


@torch.no_grad()
def next_logits(model: Network, tokens: Int[Tensor, "B T"], cache: Any = None) -> Float[Tensor, "B V"]:
    """Logits of the token after `tokens`, of which a cache has read the first ones; without one, of all in reach."""
    if cache is None:
        return model(tokens[:, -model.config.context_length :], last=True)
    return model(tokens[:, cache[0].past :], last=True, cache=cache)


def sample(
    model: Network, tokenizer: Tokenizer, prompt: Prompt = "", n_tokens: int = 100, samples: int = 1, **options: Any
) -> list[str]:
    """`samples` texts of at most `n_tokens` new tokens, each beginning with `prompt` and ending before <eos>.

    Options: `generate`.
    """
    if not 1 <= samples <= 1000:
        raise UserError(f"samples = {samples}: must be from 1 to 1,000")
    ids = encode_prompt(model, tokenizer, prompt)
    tokens = torch.tensor([ids] * samples, device=next(model.parameters()).device)
    new = torch.stack([ids for ids, _ in generate(model, tokens, n_tokens, eos=tokenizer.eos, **options)], 1).tolist()
    ends = [row.index(tokenizer.eos) if tokenizer.eos in row else len(row) for row in new]
    given = ids[tokenizer.bos is not None :]  # decoded with what follows: a character may have bytes in both
    return [tokenizer.decode(given + row[:end]) for row, end in zip(new, ends, strict=True)]


def encode_prompt(model: Network, tokenizer: Tokenizer, prompt: Prompt) -> list[int]:
    """The ids of <bos> and the prompt. Raises UserError if the prompt does not fit into the model's context."""
    given = tokenizer.encode(prompt) if isinstance(prompt, str) else prompt
    ids = ([] if tokenizer.bos is None else [tokenizer.bos]) + given
    if not ids:
        raise UserError("prompt '': must not be empty: the tokenizer has no <bos> to begin with")
    if len(ids) > model.config.context_length:
        room = model.config.context_length - len(ids) + len(given)
        raise UserError(f"prompt {shortened(str(prompt))}: {len(given)} tokens; must be at most {room}")
    return ids


def answer_probabilities(model: Network, tokenizer: Tokenizer, data: DataConfig, a: int, b: int) -> Float[Tensor, " p"]:
    """The model's probability of each number as the answer to a o b.

    With a token per character, a number's probability is that of all of its digits and the end. The probabilities then
    add up to less than 1: the rest is spent on what is no number.
    """
    batch = encode_equations(tokenizer, [f"{a}{data.sign}{b}={c}" for c in range(data.p)])
    batch = batch.to(next(model.parameters()).device)
    with evaluating(model):
        log_p = model(batch.tokens, batch.lengths).log_softmax(-1)  # (p, T, V)
    scored = batch.targets != IGNORE
    chosen = log_p.gather(2, batch.targets.clamp(min=0)[..., None])[..., 0]  # (p, T)
    return (chosen * scored).sum(1).exp().cpu()
