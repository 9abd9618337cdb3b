"""Byte pairs: one huge piece, progress, any special tokens, files, streams, and messages about long texts."""

import random
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.language import bpe
from lib.support.errors import UserError, say

CHANCE = random.Random(0)
LETTERS = "".join(CHANCE.choice("abcdefghij") for _ in range(200_000))


def learn_naively(pieces: Counter[bytes], vocab_size: int) -> list[bytes]:
    """As the definition says: count all pairs, join the most frequent, the greatest of several; and again."""
    tokens = [bytes([byte]) for byte in range(256)]
    words = {piece: [bytes([byte]) for byte in piece] for piece in pieces}
    while len(tokens) < vocab_size:
        pairs: Counter[tuple[bytes, bytes]] = Counter()
        for piece, word in words.items():
            for pair in pairwise(word):
                pairs[pair] += pieces[piece]
        if not pairs:
            break
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        tokens.append(b"".join(best))
        for word in words.values():
            place = 0
            while place < len(word) - 1:
                if (word[place], word[place + 1]) == best:
                    word[place : place + 2] = [b"".join(best)]
                place += 1
    return tokens


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
    assert bpe.learn(pieces, vocab_size) == learn_naively(pieces, vocab_size)


@pytest.mark.parametrize("text", [LETTERS[:1500], "ab" * 300, "a" * 701, "abcabcab" * 90, "xyzw" * 3 + "wzyx" * 3])
def test_of_one_long_piece_too(text: str) -> None:
    pieces = Counter([text.encode()])
    assert bpe.learn(pieces, 400) == learn_naively(pieces, 400)


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


def test_the_time_of_learning_grows_little_faster_than_the_piece() -> None:
    def lines(n: int) -> int:
        count = 0

        def trace(*_: object) -> object:
            nonlocal count
            count += 1
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            bpe.learn(Counter([LETTERS[:n].encode()]), 600)
        finally:
            sys.settrace(before)
        return count

    assert lines(16_000) < 5 * lines(4_000)


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
