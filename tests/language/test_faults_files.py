"""A vocabulary in GPT-2's files: written, read back, and read by Hugging Face's `tokenizers`."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as Decoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from lib.language import bpe
from lib.language.tokenizers import BytePairTokenizer
from lib.support.errors import UserError

DATA = Path(os.environ["DATA_DIR"]) if os.environ.get("DATA_DIR") else None
SPECIALS = ("<|endoftext|>", "[SEP]", "[SEP][SEP]")
TEXT = Path(bpe.__file__).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def learned() -> BytePairTokenizer:
    return BytePairTokenizer.of(bpe.learn(bpe.count_pieces([TEXT, "naïve façade 你好 \x00\xa0\xad"]), 700), SPECIALS)


def theirs(folder: Path, specials: tuple[str, ...]) -> Tokenizer:
    """What Hugging Face makes of the two files."""
    tokenizer = Tokenizer(BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = Decoder()
    tokenizer.add_special_tokens(list(specials))
    return tokenizer


def test_what_is_saved_is_loaded(learned: BytePairTokenizer, tmp_path: Path) -> None:
    learned.save(tmp_path / "new" / "folder")
    assert BytePairTokenizer.load(tmp_path / "new" / "folder") == learned
    assert {path.name for path in (tmp_path / "new" / "folder").iterdir()} == {"vocab.json", "merges.txt"}


def test_hugging_face_reads_it(learned: BytePairTokenizer, tmp_path: Path) -> None:
    learned.save(tmp_path)
    other = theirs(tmp_path, SPECIALS)
    assert other.get_vocab_size() == learned.vocab_size
    for text in (TEXT, "naïve  façade\n\n\t1234 'll — 你好 \x00\xa0\xad!", "one<|endoftext|>two[SEP] three"):
        assert other.encode(text).ids == learned.encode(text, "token")
        assert other.decode(other.encode(text).ids, skip_special_tokens=False) == text


@given(st.dictionaries(st.text("ab é", max_size=30), st.integers(1, 3), max_size=5))
@settings(deadline=None)
def test_the_merges_are_those_that_were_learned(texts: dict[str, int]) -> None:
    tokens = bpe.learn(Counter({text.encode(): n for text, n in texts.items()}), 300)
    assert [left + right for left, right in bpe.merges(tokens)] == tokens[256:]
    assert all({left, right} <= set(tokens[:i]) for i, (left, right) in enumerate(bpe.merges(tokens), 256))


@pytest.mark.skipif(DATA is None, reason="set DATA_DIR to a folder with gpt2_bpe/vocab.bpe and encoder.json")
def test_gpt2s_own_files_are_written_as_they_are(tmp_path: Path) -> None:
    files = [DATA / "gpt2_bpe" / name for name in ("encoder.json", "vocab.bpe")]
    gpt2 = BytePairTokenizer.of(*bpe.load(*files))
    assert gpt2.vocab_size == 50257 and gpt2.specials == (bpe.END,)
    gpt2.save(tmp_path)
    assert (tmp_path / "merges.txt").read_text(encoding="utf-8") == files[1].read_text(encoding="utf-8")
    assert json.loads((tmp_path / "vocab.json").read_text(encoding="utf-8")) == json.loads(files[0].read_text())


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt"])
@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"a": 1}', b"#version: 0.2\na b\n", None])
def test_files_that_do_not_fit_are_named(
    learned: BytePairTokenizer, tmp_path: Path, name: str, content: bytes | None
) -> None:
    learned.save(tmp_path)
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        BytePairTokenizer.load(tmp_path)
    assert str(caught.value).startswith(
        f"{tmp_path / 'vocab.json'} and merges.txt: must be the files of one vocabulary ("
    )
    assert "\n" not in str(caught.value)


def test_a_special_token_that_is_written_as_another_token_is_refused(tmp_path: Path) -> None:
    tokens = bpe.learn(Counter([b"the", b"the"]), 258)
    with pytest.raises(UserError, match=r"specials = .*: must be written otherwise than the token 'the'"):
        BytePairTokenizer.of(tokens, (bpe.END, "the")).save(tmp_path)


def test_merges_that_were_cut_off_are_no_special_tokens(learned: BytePairTokenizer, tmp_path: Path) -> None:
    learned.save(tmp_path)
    lines = (tmp_path / "merges.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    for n in (1, 2, 100, len(lines) - 1):
        (tmp_path / "merges.txt").write_text("".join(lines[:n]), encoding="utf-8")
        with pytest.raises(UserError, match="is two tokens joined, and not among the merges"):
            BytePairTokenizer.load(tmp_path)
