"""Corpora: found, fetched, refused, and encoded once."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from conftest import DATA

from lib import bpe, corpora
from lib.corpora import Corpus
from lib.fields import UserError
from lib.tokenizer import BytePairTokenizer

TEXT = "Once there was a cat.\n\n<|endoftext|>\nTwice  there was a dog. " * 50
DIGEST = hashlib.sha256(TEXT.encode()).hexdigest()
SMALL = BytePairTokenizer.of(bpe.learn(bpe.count_pieces([TEXT]), 300))


@pytest.fixture
def tales(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that a made-up corpus is fetched from; nothing is on the disk yet."""
    origin = tmp_path / "origin" / "tales.txt"
    origin.parent.mkdir()
    origin.write_text(TEXT)
    made = Corpus("tales", {"all": ("tales.txt", DIGEST)}, origin.parent.as_uri() + "/")
    monkeypatch.setitem(corpora.CORPORA, "tales", made)
    monkeypatch.setattr(corpora, "CACHE", tmp_path / "cache")
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    return origin


def test_a_corpus_is_fetched_once_and_then_found(tales: Path) -> None:
    path = corpora.files("tales")["all"]
    assert path.read_text() == TEXT and path.is_relative_to(corpora.CACHE)
    tales.unlink()
    assert corpora.files("tales")["all"] == path


def test_the_data_folder_comes_first(tales: Path, tmp_path: Path) -> None:
    here = tmp_path / "data" / "tales" / "tales.txt"
    here.parent.mkdir(parents=True)
    here.write_text(TEXT)
    assert corpora.files("tales")["all"] == here
    here.write_text(TEXT + "!")
    with pytest.raises(UserError, match=f"tales.txt: not the file that is meant, or damaged .SHA-256 must be {DIGEST}"):
        corpora.files("tales")


def test_what_cannot_be_had_is_one_message_and_leaves_nothing(tales: Path, tmp_path: Path) -> None:
    tales.write_text("something else")
    with pytest.raises(UserError, match=r"not the file that is meant; put tales/tales\.txt into the folder"):
        corpora.files("tales")
    tales.unlink()
    with pytest.raises(UserError, match=r"cannot be fetched .*; put tales/tales\.txt into the folder that DATA_DIR"):
        corpora.files("tales")
    with pytest.raises(UserError, match=r"tinystories.*: no such file; put tinystories/train\.txt"):
        corpora.files("tinystories")
    unknown = r"data\.corpus = 'wikitext3' \(no such file\): must be one of .* did you mean wikitext2"
    with pytest.raises(UserError, match=unknown):
        corpora.files("wikitext3")
    assert not (tmp_path / "cache").exists()


def test_ids_are_those_of_the_whole_text_and_are_kept(tales: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpe, "BLOCK", 100)
    ids = corpora.encoded(tales, SMALL)
    assert isinstance(ids, np.memmap) and ids.dtype == np.uint16
    assert ids.tolist() == SMALL.encode(TEXT, special="token")
    assert (ids == SMALL.eos).sum() == 50
    [kept] = corpora.CACHE.glob("tokens*/*")
    before = kept.stat().st_mtime_ns
    assert corpora.encoded(tales, SMALL).tolist() == ids.tolist() and kept.stat().st_mtime_ns == before
    corpora.encoded(tales, BytePairTokenizer.of(bpe.learn(bpe.count_pieces([TEXT]), 260)))
    assert len(list(kept.parent.iterdir())) == 2  # another vocabulary, other ids
    tales.write_text("")
    assert corpora.encoded(tales, SMALL).size == 0


@pytest.mark.skipif(DATA is None, reason="set DATA_DIR to a folder with the corpora")
@pytest.mark.parametrize("name", list(corpora.CORPORA))
def test_the_real_ones_are_as_their_hashes_say(name: str) -> None:
    assert all(path.is_relative_to(DATA) for path in corpora.files(name).values())
