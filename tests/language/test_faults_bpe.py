"""Byte pairs: one huge piece, progress, any special tokens, files, streams, and messages about long texts."""

import itertools
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import learn_slowly
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.language import bpe
from lib.language.tokenizers import BytePairTokenizer, from_dict, to_dict
from lib.support.errors import UserError, say, shortened

CHANCE = random.Random(0)
LETTERS = "".join(CHANCE.choice("abcdefghij") for _ in range(200_000))


@given(
    st.dictionaries(
        st.one_of(st.text("a", max_size=40), st.text("ab", max_size=40), st.text("abcé", max_size=60)),
        st.integers(1, 3),
        max_size=5,
    ),
    st.sampled_from([256, 257, 260, 330]),
)
@settings(max_examples=200, deadline=None)
def test_the_merges_are_those_of_recounting_everything(texts: dict[str, int], vocab_size: int) -> None:
    pieces = Counter({text.encode(): n for text, n in texts.items()})
    assert bpe.learn(pieces, vocab_size) == learn_slowly(pieces, vocab_size)


@pytest.mark.parametrize("text", [LETTERS[:1500], "ab" * 300, "a" * 701, "abcabcab" * 90, "xyzw" * 3 + "wzyx" * 3])
def test_of_one_long_piece_too(text: str) -> None:
    pieces = Counter([text.encode()])
    assert bpe.learn(pieces, 400) == learn_slowly(pieces, 400)


def test_of_equally_frequent_pairs_the_greatest_byte_strings_come_first() -> None:
    pieces = Counter([b"ab", b"\xffa", b"\x00\xff", b"b\x00", b"\xff\xff"])
    merged = bpe.learn(pieces, 261)[256:]
    assert merged == [b"\xff\xff", b"\xffa", b"b\x00", b"ab", b"\x00\xff"]


@pytest.mark.parametrize("text", [LETTERS, "a" * 200_000, LETTERS[:100_000] * 2], ids=["letters", "one", "twice"])
def test_a_text_without_spaces_is_learned_in_seconds(text: str) -> None:
    start = time.process_time()
    tokens = bpe.learn(Counter([text.encode()]), 2048)
    assert time.process_time() - start < 10  # it was half a minute for a tenth of this text
    assert len(tokens) == 2048 or tokens[-1] == text.encode()


def test_the_work_of_learning_grows_with_the_piece_and_not_with_each_merge() -> None:
    count = 0

    def trace(*_: object) -> object:
        nonlocal count
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        bpe.learn(Counter([LETTERS[:8000].encode()]), 1000)
    finally:
        sys.settrace(before)
    assert count < 100 * 8000  # lines of Python; it was 45 times as many


def test_learning_that_lasts_tells_of_its_progress(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bpe.learn(Counter([b"a short text"]), 270)
    assert capsys.readouterr() == ("", "")
    now = iter(range(10_000))
    monkeypatch.setattr(bpe.time, "monotonic", lambda: next(now))  # each merge takes a second
    bpe.learn(Counter([LETTERS[:5000].encode()]), 356)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [f"learning byte pairs: {n} of 100 joined" for n in (6, 11, 21, 41, 81)]


@given(st.lists(st.sampled_from(["word", " ", "\n", "\r\n", "  ", "\t", "12", "!?", "é", bpe.END]), max_size=60))
@settings(deadline=None)
def test_cutting_at_any_white_space_changes_no_piece(parts: list[str]) -> None:
    text, cut = "".join(parts), list(bpe.regrouped(parts))
    assert "".join(cut) == text and bpe.count_pieces(cut) == bpe.count_pieces([text])


def test_a_text_in_one_line_is_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpe, "BLOCK", 50)
    (tmp_path / "text.txt").write_text("A line without an end. " * 40, encoding="utf-8")
    assert max(map(len, bpe.blocks(tmp_path / "text.txt"))) <= 75


def test_a_long_text_is_shortened_in_a_message() -> None:
    assert shortened("a" * 60) == repr("a" * 60)
    assert shortened("a" * 6000) == repr("a" * 60) + "… (6,000 characters)"
    with pytest.raises(UserError) as caught:
        bpe.check_special("word " * 10_000 + bpe.END, "refuse")
    assert "… (50,013 characters)" in str(caught.value) and len(str(caught.value)) < 300


def test_of_several_processes_the_first_one_speaks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    say("first")
    monkeypatch.setenv("RANK", "1")
    say("second")
    assert capsys.readouterr().err == "first\n"


SPECIALS = ("<|endoftext|>", "<|a|>", "<|a|><|b|>", "[SEP]")


@pytest.fixture(scope="module")
def several() -> BytePairTokenizer:
    """A tokenizer with four special tokens, one of which begins another."""
    pieces = bpe.count_pieces(["the cat<|a|><|b|>the dog[SEP]a bird<|endoftext|> the end"] * 3, SPECIALS)
    return BytePairTokenizer.of(bpe.learn(pieces, 280), SPECIALS)


def test_nothing_is_counted_of_any_special_token_or_across_one() -> None:
    pieces = bpe.count_pieces(["one<|a|><|b|>two[SEP]three<|a|>", "one<|endoftext|>"], SPECIALS)
    assert pieces == {b"one": 2, b"two": 1, b"three": 1}
    assert sum(bpe.count_pieces(["[SEP]"]).values()) > 1  # by default there is only "<|endoftext|>"


def test_the_longest_special_token_is_found_first(several: BytePairTokenizer) -> None:
    end, a, a_b, sep = range(several.eos, several.eos + 4)
    for order in (SPECIALS, SPECIALS[::-1]):
        one = BytePairTokenizer(several.tokens, specials=order)
        names = ["<|a|><|b|>", "<|a|>", "<|a|>", "[SEP]", "<|endoftext|>"]
        assert one.encode("".join(names), "token") == [one.eos + order.index(name) for name in names]
    assert several.vocab_size == several.encoding.n_vocab == len(several.tokens) + 4
    assert several.encode("<|a|><|b|><|a|>", "token") == [a_b, a] and several.decode([sep, end]) == "[SEP]<|endoftext|>"
    assert set(several.encode("<|a|>[SEP]", "text")).isdisjoint({end, a, a_b, sep})
    with pytest.raises(UserError, match=r"'<\|a\|><\|b\|>' in 'x<\|a\|><\|b\|>': must not be there"):
        several.encode("x<|a|><|b|>")


@given(st.lists(st.sampled_from(["the", " ", "\n", "12", "é", "<|", *SPECIALS]), max_size=30))
@settings(deadline=None)
def test_a_text_with_special_tokens_comes_back(several: BytePairTokenizer, parts: list[str]) -> None:
    text = "".join(parts)
    as_tokens, as_text = several.encode(text, "token"), several.encode(text, "text")
    assert several.decode(as_tokens) == several.decode(as_text) == text
    assert not as_text or max(as_text) < several.eos
    assert sum(i >= several.eos for i in as_tokens) == len(bpe.split(text, SPECIALS)) // 2


@given(
    st.lists(st.sampled_from(["the", " ", "  ", "\n", "\r\n", "12", "'s", "é", "<|", *SPECIALS]), max_size=40),
    st.randoms(),
)
@settings(deadline=None)
def test_a_stream_has_the_ids_of_the_whole_text(
    several: BytePairTokenizer, parts: list[str], chance: random.Random
) -> None:
    text = "".join(parts)
    cuts = sorted(chance.choices(range(len(text) + 1), k=5))
    texts = [text[i:j] for i, j in pairwise([0, *cuts, len(text)])]
    assert list(several.encode_stream(iter(texts))) == several.encode(text, "token")


def test_a_stream_is_encoded_as_it_comes(several: BytePairTokenizer) -> None:
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield "the cat sees the dog[SEP] "

    ids = several.encode_stream(endless())
    first = list(itertools.islice(ids, 1000))
    assert read < 200 and several.decode(first) in "the cat sees the dog[SEP] " * 200


@pytest.mark.parametrize("specials", [(), ("",), ("<a>", "<a>"), ("<a b>",), ("a", " ")])
def test_special_tokens_that_cannot_work_are_refused(specials: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as caught:
        BytePairTokenizer((), specials=specials)
    assert str(caught.value) == f"specials = {list(specials)}: must be one or more different texts without white space"


def test_a_stored_tokenizer_keeps_its_special_tokens(several: BytePairTokenizer) -> None:
    stored = json.loads(json.dumps(to_dict(several)))
    assert from_dict(stored) == several
    del stored["specials"]  # as the weights files of earlier versions
    assert from_dict(stored) == BytePairTokenizer(several.tokens)
