"""GPT-1's vocabulary in tiktoken against its merges taken one by one."""

import json
from dataclasses import asdict
from itertools import pairwise

import numpy as np
import pytest
from conftest import DATA
from hypothesis import given
from hypothesis import strategies as st

from lib.language import gpt1
from lib.language.gpt1 import GPT1Tokenizer
from lib.support.errors import UserError

CHARACTERS = "abelowrx.<@é日𝄞"
MERGES = (
    "a a",
    "e r</w>",
    "l o",
    "lo w</w>",
    "lo w",
    "low er</w>",
    "aa a</w>",
    "aa aa",
    "é 日",
    "é日 𝄞</w>",
    "x é</w>",
)
TOKENS = (
    "<unk>",
    *CHARACTERS,
    *(character + "</w>" for character in CHARACTERS),
    *(merge.replace(" ", "") for merge in MERGES),
)
SMALL = GPT1Tokenizer(TOKENS, MERGES)
STRANGE = "ñz本語\u0301\0\1\2\ud800"  # unknown to SMALL; some share their first bytes with what it knows
MARKS = st.sampled_from(["<unk>", "<|endoftext|>", " ", "\n", "\u3000"])
needs_files = pytest.mark.skipif(DATA is None, reason="set DATA_DIR to a folder with gpt1_bpe/ and wikitext2/")


@pytest.fixture(scope="module")
def real() -> GPT1Tokenizer:
    return gpt1.load(*(DATA / "gpt1_bpe" / name for name in ("encoder_bpe_40000.json", "vocab_40000.bpe")))


def symbols(spelled: str) -> list[str]:
    """A token's characters, the last one with the mark of the end if it has it."""
    characters = list(spelled.removesuffix("</w>"))
    return [*characters[:-1], characters[-1] + spelled[len(characters) :]]


def merged(word: list[str], ranks: dict[tuple[str, str], int]) -> list[str]:
    """As the definition says: join all occurrences of the pair that is first on the list; and again."""
    while pairs := [pair for pair in pairwise(word) if pair in ranks]:
        best, place = min(pairs, key=ranks.__getitem__), 0
        while place < len(word) - 1:
            if (word[place], word[place + 1]) == best:
                word[place : place + 2] = ["".join(best)]
            place += 1
    return word


def ranks_of(tokenizer: GPT1Tokenizer) -> dict[tuple[str, str], int]:
    return {tuple(merge.split(" ")): rank for rank, merge in enumerate(tokenizer.merges)}


def encode_slowly(tokenizer: GPT1Tokenizer, words: list[str]) -> list[int]:
    ids = {token: index for index, token in enumerate(tokenizer.tokens)}
    ranks, result = ranks_of(tokenizer), []
    for word in words:
        whole = {"<unk>": ids["<unk>"], "<|endoftext|>": len(ids)}
        parts = merged(symbols(word + "</w>"), ranks)
        result += [whole[word]] if word in whole else [ids.get(part, ids["<unk>"]) for part in parts]
    return result


@given(st.lists(st.text(CHARACTERS + STRANGE, min_size=1, max_size=12) | MARKS, max_size=8))
def test_it_joins_what_the_list_of_merges_says(parts: list[str]) -> None:
    for text in ("".join(parts), " ".join(parts)):
        ids = SMALL.encode(text, "token")
        assert ids == encode_slowly(SMALL, gpt1.words(text))
        assert all(0 <= i < SMALL.vocab_size for i in ids)


@given(st.lists(st.text(CHARACTERS, min_size=1, max_size=12) | MARKS, max_size=8))
def test_known_text_comes_back_in_lower_case_with_single_spaces(parts: list[str]) -> None:
    text = " ".join(parts)
    assert SMALL.decode(SMALL.encode(text, "token")) == " ".join(gpt1.words(text))
    assert SMALL.encode(SMALL.decode(SMALL.encode(text, "token")), "token") == SMALL.encode(text, "token")


def test_words() -> None:
    assert gpt1.words("Don't –  “NAÏVE” @-@\t12…\n") == ["don", "'", "t", "-", '"', "naïve", '"', *"@-@", "12", *"..."]
    assert gpt1.words("a<unk>b<|endoftext|>C <|ENDOFTEXT|>")[:5] == ["a", "<unk>", "b", "<|endoftext|>", "c"]
    assert "<|endoftext|>" not in gpt1.words("<|ENDOFTEXT|> < | endoftext | >")


def test_unknown_characters_and_the_word_unk_are_one_token_each() -> None:
    assert SMALL.encode("<unk>") == SMALL.encode("ñ") == SMALL.encode("\1") == [0]
    assert SMALL.encode("ñz") == [0, 0] and SMALL.decode([0, 0]) == "<unk> <unk>"


def test_the_separator_is_the_last_id() -> None:
    end = len(TOKENS)
    assert SMALL.eos == SMALL.bos == SMALL.pad == end == SMALL.vocab_size - 1
    low = TOKENS.index("low</w>")
    assert SMALL.encode("low<|endoftext|>low", special="token") == [low, end, low]
    assert SMALL.decode([low, end, low]) == "low <|endoftext|> low"
    assert SMALL.encode("<|endoftext|>", special="text") == SMALL.encode(
        "< | endoftext | >"
    ) and end not in SMALL.encode("<")
    with pytest.raises(UserError, match="must not be there, unless you say"):
        SMALL.encode("low<|endoftext|>")


def test_nothing_is_no_token() -> None:
    assert SMALL.encode("") == SMALL.encode(" \n\0") == [] and SMALL.decode([]) == ""


def test_it_survives_json() -> None:
    again = GPT1Tokenizer(**json.loads(json.dumps(asdict(SMALL))))
    assert again == SMALL and again.encode("lower") == SMALL.encode("lower")


def test_each_small_token_is_encoded_as_itself() -> None:
    assert_spelled(SMALL)


@needs_files
def test_each_of_gpt1s_tokens_is_encoded_as_itself(real: GPT1Tokenizer) -> None:
    """On this rests that tiktoken, which knows no pairs, joins what GPT-1 joins."""
    assert_spelled(real)


def assert_spelled(tokenizer: GPT1Tokenizer) -> None:
    ranks = ranks_of(tokenizer)
    assert all(merged(symbols(token), ranks) == [token] for token in tokenizer.tokens if token != "<unk>")


@needs_files
def test_gpt1s_ids_are_those_of_its_files(real: GPT1Tokenizer) -> None:
    ids = json.loads((DATA / "gpt1_bpe" / "encoder_bpe_40000.json").read_text(encoding="utf-8"))
    assert {token: index for index, token in enumerate(real.tokens)} == ids
    assert (real.vocab_size, len(real.merges), real.eos) == (40479, 40000, 40478)
    assert real.merges[0] == "t h" and real.merges[-1] == "bachel orette</w>"
    assert [real.tokens[i] for i in real.encode("The Bachelorette lost")] == ["the</w>", "bachelorette</w>", "lost</w>"]


@needs_files
def test_gpt1_encodes_wikitext_as_its_merges_say(real: GPT1Tokenizer) -> None:
    text = (DATA / "wikitext2" / "valid.txt").read_text(encoding="utf-8")
    distinct = sorted(set(gpt1.words(text)))
    assert real.encode(" ".join(distinct)) == encode_slowly(real, distinct)
    ids = real.encode_documents(text)
    assert ids.dtype == np.uint16 and len(ids) == 231_679 and ids.max() < real.eos


@needs_files
@given(text=st.text(st.sampled_from("aehilmostz'.!é日–") | st.characters(), max_size=40))
def test_gpt1_encodes_any_text_as_its_merges_say(real: GPT1Tokenizer, text: str) -> None:
    assert real.encode(text, "token") == encode_slowly(real, gpt1.words(text))
