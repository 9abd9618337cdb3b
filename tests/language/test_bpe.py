"""The byte-pair trainer against one that recounts everything, and its vocabularies in tiktoken."""

import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest
import tiktoken
from conftest import DATA, ROOT, learn_slowly
from hypothesis import given
from hypothesis import strategies as st

from lib.language import bpe

TEXT = (ROOT / "lib" / "train.py").read_text()  # some English, some punctuation, some digits


@pytest.mark.parametrize("text", [TEXT[:4000], "aaaa aaa aa abab baba", "низкий нижний 低い 低き", "ab ab ac ac ad ad"])
def test_it_learns_what_recounting_everything_learns(text: str) -> None:
    pieces = bpe.count_pieces([text])
    assert bpe.learn(pieces, 400) == learn_slowly(pieces, 400)


@given(st.text(alphabet="ab \n", max_size=40))
def test_any_small_text_too(text: str) -> None:
    pieces = bpe.count_pieces([text])
    assert bpe.learn(pieces, 280) == learn_slowly(pieces, 280)


@given(st.text(alphabet="ab1!' \t\n\r\x0b\x1c\x1f\x85\xa0\u2003\u200bé", max_size=30))
def test_words_have_the_pieces_of_the_whole_text(text: str) -> None:
    """Whatever is white space to whom."""
    assert bpe.count_pieces([text]) == Counter(piece.encode() for piece in bpe.PIECES.findall(text))


def test_of_equally_frequent_pairs_the_greatest_is_joined_first() -> None:
    tokens = bpe.learn(Counter({b"ab": 3, b"cd": 3, b"ce": 3, b"zz": 1}), 260)
    assert tokens[256:] == [b"ce", b"cd", b"ab", b"zz"]


def test_special_tokens_are_neither_counted_nor_joined() -> None:
    pieces = bpe.count_pieces(["one two<|endoftext|>two one<|endoftext|>"])
    assert pieces == {b"one": 1, b" two": 1, b"two": 1, b" one": 1}
    encoding = bpe.encoding(bpe.learn(pieces, 300))
    ids = encoding.encode("one<|endoftext|>", allowed_special="all")
    assert ids[-1] == encoding.eot_token == encoding.n_vocab - 1 and encoding.eot_token not in ids[:-1]
    assert encoding.eot_token not in encoding.encode_ordinary("one<|endoftext|>")
    with pytest.raises(ValueError, match="disallowed special token"):
        encoding.encode("one<|endoftext|>")


@given(st.text(max_size=60))
def test_every_text_comes_back(text: str) -> None:
    encoding = bpe.encoding(bpe.learn(bpe.count_pieces([TEXT[:3000]]), 320))
    assert encoding.decode(encoding.encode_ordinary(text)) == text


@given(st.lists(st.sampled_from(["word", " ", "\n", "\r\n", "  ", "12", "!?", "é", "<|endoftext|>"]), max_size=60))
def test_reading_in_blocks_changes_no_piece(parts: list[str]) -> None:
    text = "".join(parts)
    path = Path(tempfile.mkdtemp()) / "text.txt"
    path.write_text(text, encoding="utf-8", newline="")
    whole = bpe.count_pieces([text])
    before, bpe.BLOCK = bpe.BLOCK, 7
    try:
        assert "".join(bpe.blocks(path)) == text and bpe.count_pieces(bpe.blocks(path)) == whole
    finally:
        bpe.BLOCK = before
        shutil.rmtree(path.parent)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_blocks_end_at_lines_of_any_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    monkeypatch.setattr(bpe, "BLOCK", 50)
    (tmp_path / "text.txt").write_text(f"A line of twenty char{end}" * 40, encoding="utf-8", newline="")
    assert max(map(len, bpe.blocks(tmp_path / "text.txt"))) <= 75


@pytest.mark.skipif(DATA is None, reason="set DATA_DIR to a folder with gpt2_bpe/vocab.bpe and encoder.json")
def test_gpt2s_vocabulary_encodes_as_tiktokens_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, key in (  # by the names that tiktoken's cache gives them
        ("vocab.bpe", "6d1cbeee0f20b3d9449abfede4726ed8212e3aee"),
        ("encoder.json", "6c7ea1a7e38e3a7f062df639a5b80947f075ffe6"),
    ):
        shutil.copy(DATA / "gpt2_bpe" / name, tmp_path / key)
    files = (DATA / "gpt2_bpe" / name for name in ("vocab.bpe", "encoder.json"))
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    theirs, ours = tiktoken.get_encoding("gpt2"), bpe.encoding(bpe.gpt2(*files))
    for text in (TEXT, "naïve  façade\n\n\t1234 'll — 你好 <|endoftext|>!", "<|endoftext|>"):
        assert ours.encode(text, allowed_special="all") == theirs.encode(text, allowed_special="all")
    assert ours.n_vocab == theirs.n_vocab == 50257
