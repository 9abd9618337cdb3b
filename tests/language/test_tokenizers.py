"""Byte-pair tokenizers: the end of a document, and the way through the weights file."""

from pathlib import Path

import pytest
import torch
from conftest import STORY_TEXT, a_batch
from hypothesis import given
from hypothesis import strategies as st

from lib.config import RunConfig
from lib.language import bpe, corpora, networks
from lib.language.gpt1 import GPT1Tokenizer
from lib.language.tokenizers import BytePairTokenizer, Tokenizer, pieces
from lib.support.errors import UserError
from lib.tokenizer import CharacterTokenizer, NumberTokenizer
from lib.training.weights import load_weights, save_weights


def test_a_byte_pair_vocabulary_travels_with_the_weights(story: RunConfig, tmp_path: Path) -> None:
    tokenizer = corpora.load(story.data).tokenizer
    network = networks.make(story.model, tokenizer.vocab_size)
    save_weights(tmp_path / "weights.safetensors", network, story, tokenizer, 0)
    loaded, same, config = load_weights(tmp_path / "weights.safetensors")
    assert config == story and same == tokenizer and isinstance(same, BytePairTokenizer)
    written = STORY_TEXT + "naïve 低い \x00\xff"
    assert same.encode(written, special="token") == tokenizer.encode(written, special="token")
    batch = a_batch(300)
    assert torch.equal(loaded(batch.tokens), network.eval()(batch.tokens))


BYTES = BytePairTokenizer.of([bytes([byte]) for byte in range(256)] + ["м".encode(), "им".encode()[:3]])
WORDS = GPT1Tokenizer(("<unk>", "a", "b", "a</w>", "b</w>", "ab</w>"), ("a b</w>",))


@given(st.lists(st.integers(0, 258)))
def test_each_token_of_bytes_adds_its_whole_characters(ids: list[int]) -> None:
    found = pieces(BYTES, ids)
    assert len(found) == len(ids) and "".join(found) == BYTES.decode(ids)
    for n in range(len(ids)):
        assert BYTES.decode(ids[: n + 1]).startswith("".join(found[: n + 1]))  # said at once, as far as it is known


@pytest.mark.parametrize("tokenizer", [WORDS, CharacterTokenizer("мо "), NumberTokenizer(5, "+")])
@given(data=st.data())
def test_the_pieces_of_a_text_are_the_text(tokenizer: Tokenizer, data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1)))
    found = pieces(tokenizer, ids)
    assert len(found) == len(ids) and "".join(found) == tokenizer.decode(ids)


def test_a_character_comes_with_its_last_byte_and_a_space_with_the_next_word() -> None:
    assert pieces(BYTES, BYTES.encode("aйя")) == ["a", "", "й", "", "я"]
    assert pieces(BYTES, [0xD0, 0x61, 0xD0]) == ["", "\ufffda", "\ufffd"]
    assert pieces(WORDS, WORDS.encode("ab b aab")) == ["ab", " b", " a", "ab"]


@given(st.lists(st.sampled_from(["one", " two", "\n", "é", bpe.END]), max_size=12))
def test_the_end_of_a_document_is_what_one_says_it_is(parts: list[str]) -> None:
    tokenizer = BytePairTokenizer.of(bpe.learn(bpe.count_pieces(["one two"]), 260))
    text = "".join(parts)
    as_text, as_tokens = (tokenizer.encode(text, special=special) for special in ("text", "token"))
    assert tokenizer.decode(as_text) == tokenizer.decode(as_tokens) == text
    assert tokenizer.eos not in as_text and as_tokens.count(tokenizer.eos) == parts.count(bpe.END)
    assert tokenizer.encode_documents(text).tolist() == as_tokens
    if bpe.END in parts:
        with pytest.raises(UserError, match="must not be there, unless you say what is meant"):
            tokenizer.encode(text)
    else:
        assert tokenizer.encode(text) == as_text
    with pytest.raises(UserError, match="special = 'both': must be one of refuse, text, token"):
        tokenizer.encode(text, special="both")
