"""Samples and answers, against a plain loop over whole sequences."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from conftest import STORY_TEXT

from lib import tasks
from lib.config import ModelConfig, RunConfig
from lib.data import IGNORE
from lib.language import networks
from lib.runs.live import run_live
from lib.sampling import answer_probabilities, encode_prompt, generate, sample
from lib.support.errors import UserError
from lib.tokenizer import CharacterTokenizer
from lib.training.trainer import train
from lib.training.weights import load_weights

POSITIONS = ("learned", "sinusoidal", "rope", "none")


def test_sampling_follows_the_distribution_that_it_reports(memorized: Path) -> None:
    model, tokenizer, _ = load_weights(memorized)
    start = torch.full((4000, 1), tokenizer.bos)
    ids, chosen = next(generate(model, start, 1, temperature=20.0, seed=0))
    expected = (model(start[:1], last=True)[0] / 20).softmax(-1)
    torch.testing.assert_close(chosen, expected[ids])
    counts = torch.bincount(ids, minlength=tokenizer.vocab_size) / len(ids)
    assert (counts - expected).abs().max() < 0.04
    ids, _ = next(generate(model, start, 1, temperature=20.0, top_k=2, seed=0))
    assert set(ids.tolist()) == set(expected.topk(2).indices.tolist())


def test_the_sentence_comes_back(memorized: Path) -> None:
    model, tokenizer, config = load_weights(memorized)
    assert sample(model, tokenizer, temperature=0) == [config.data.text]
    assert Counter(sample(model, tokenizer, samples=100, seed=3)) == {config.data.text: 100}
    assert sample(model, tokenizer, "I love", 4, temperature=0) == ["I love mac"]
    assert sample(model, tokenizer, samples=5, temperature=9.0, seed=1) == sample(
        model, tokenizer, samples=5, temperature=9.0, seed=1
    )


def test_samples_that_end_early_do_not_disturb_the_others(memorized: Path) -> None:
    model, tokenizer, _ = load_weights(memorized)
    texts = sample(model, tokenizer, n_tokens=60, samples=20, temperature=3.0, seed=0)
    assert len({len(text) for text in texts}) > 1 and not any("<eos>" in text for text in texts)


NETWORKS = [
    *({"positions": kind, "norm_placement": place} for kind in POSITIONS for place in ("pre", "post")),
    {"kind": "lstm"},
    *({"kind": kind, "context_length": 16} for kind in ("transformer", "lstm")),  # which moves on by two tokens
]


def build(**options: object) -> networks.Network:
    torch.manual_seed(0)
    sizes = dict(n_layers=2, n_heads=2, d_model=16, d_ff=24, d_hidden=20, context_length=12)
    return networks.make(ModelConfig(**(sizes | {"init": "torch"} | options)), vocab_size=15).eval()


def plainly(model: networks.Network, tokens: torch.Tensor, n: int, temperature: float) -> tuple[torch.Tensor, ...]:
    """What `generate` yields with seed 0, each step computed from all tokens in reach: ids and probabilities (B, n)."""
    generator, steps, begin = torch.Generator().manual_seed(0), [], 0
    for _ in range(n):
        if beyond := max(0, tokens.shape[1] - begin - model.config.context_length):
            begin += beyond - 1 + max(1, model.config.context_length // 8)
        with torch.no_grad():
            logits = model(tokens[:, begin:])[:, -1]
        p = (logits / (temperature or 1.0)).softmax(-1)
        ids = p.argmax(1, keepdim=True) if temperature == 0 else torch.multinomial(p, 1, generator=generator)
        steps.append(p.gather(1, ids))
        tokens = torch.cat([tokens, ids], 1)
    return tokens[:, -n:], torch.cat(steps, 1)


@pytest.mark.parametrize("n_asked", [1, 12, 15])
@pytest.mark.parametrize("options", NETWORKS, ids=str)
def test_generated_tokens_are_those_of_a_plain_loop(options: dict[str, object], n_asked: int) -> None:
    """From prompts within the context of 12 or 16 tokens, as long as it and longer, to beyond its end."""
    model = build(**options)
    prompts = torch.randint(15, (4, n_asked), generator=torch.Generator().manual_seed(1))
    for temperature in (0, 2.0):
        steps = list(generate(model, prompts, 15, temperature=temperature, seed=0))
        ids, chosen = (torch.stack(part, 1) for part in zip(*steps, strict=True))
        expected_ids, expected = plainly(model, prompts, 15, temperature)
        assert ids.tolist() == expected_ids.tolist()
        torch.testing.assert_close(chosen, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("context", "beyond"), [(12, [12, 12, 12]), (16, [15, 1, 15]), (40, [36, 1, 1, 1, 1, 36])])
@pytest.mark.parametrize("kind", ["transformer", "lstm"])
def test_each_token_is_read_once_up_to_the_end_of_the_context(kind: str, context: int, beyond: list[int]) -> None:
    """And again, with an eighth of the context forgotten, whenever the context is full."""
    model, read = build(kind=kind, context_length=context), []
    model.embed.register_forward_hook(lambda _, inputs, output: read.append(inputs[0].shape[1]))
    list(generate(model, torch.zeros(2, 5, dtype=torch.int64), context - 5 + 1 + len(beyond)))
    assert read == [5] + [1] * (context - 5) + beyond


@pytest.mark.parametrize("kind", ["number", "character"])
def test_answers_are_probabilities_of_whole_answers(kind: str, tiny: RunConfig) -> None:
    """Against the plain product of the next-token probabilities along each answer."""
    config = tiny.override({"data.tokenizer": kind, "data.p": 13, "train.max_steps": 30})
    model, tokenizer, _ = run_live(config).load()
    p = answer_probabilities(model, tokenizer, config.data, 12, 5)
    assert p.shape == (13,) and (p > 0).all() and p.sum() <= 1 + 1e-5
    for c in (3, 11):
        ids = tokenizer.encode(f"12/5={c}") + ([tokenizer.eos] if isinstance(tokenizer, CharacterTokenizer) else [])
        product, n_asked = 1.0, len(tokenizer.encode("12/5="))
        for t in range(n_asked, len(ids)):
            product *= model(torch.tensor([ids[:t]]), last=True)[0].softmax(-1)[ids[t]].item()
        assert p[c].item() == pytest.approx(product, rel=1e-4)
    assert IGNORE not in ids


def test_committed_division_checkpoint_answers_unseen_equations(division: Path) -> None:
    model, tokenizer, config = load_weights(division)
    rows = tasks.split(config.data)["test"]
    right = sum(
        int(answer_probabilities(model, tokenizer, config.data, a, b).argmax()) == c for a, b, c in rows[:300].tolist()
    )
    assert right >= 297


def test_a_sample_begins_as_the_training_text_did(story: RunConfig, tmp_path: Path) -> None:
    """With the separator where there is one; a text without any teaches no beginning, so a prompt must make it."""
    plain = tmp_path / "plain.txt"
    plain.write_text(STORY_TEXT.replace("<|endoftext|>", ""))
    for config, begins in ((story, True), (story.override({"data.corpus": str(plain)}), False)):
        train(config, tmp_path / str(begins))
        model, tokenizer, _ = load_weights(tmp_path / str(begins))
        assert (tokenizer.bos is None) != begins
        assert encode_prompt(model, tokenizer, "The")[0 if not begins else 1 :] == tokenizer.encode("The")
        if not begins:
            with pytest.raises(UserError, match="prompt '': must not be empty"):
                sample(model, tokenizer)
