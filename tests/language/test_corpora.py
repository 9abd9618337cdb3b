"""Corpora: found, fetched, refused, cut, and encoded once."""

import hashlib
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import DATA, STORY_TEXT

from lib.config import RunConfig
from lib.language import bpe, corpora, networks
from lib.language.corpora import Corpus
from lib.language.tokenizers import BytePairTokenizer, encode_documents
from lib.support.errors import UserError
from lib.tokenizer import CharacterTokenizer

TALE = "Once there was a cat.\n\n<|endoftext|>\nTwice  there was a dog. " * 50
DIGEST = hashlib.sha256(TALE.encode()).hexdigest()
SMALL = BytePairTokenizer.of(bpe.learn(bpe.count_pieces([TALE]), 300))


@pytest.fixture
def tales(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that a made-up corpus is fetched from; nothing is on the disk yet."""
    origin = tmp_path / "origin" / "tales.txt"
    origin.parent.mkdir()
    origin.write_text(TALE)
    made = Corpus("tales", {"all": ("tales.txt", DIGEST)}, origin.parent.as_uri() + "/")
    monkeypatch.setitem(corpora.CORPORA, "tales", made)
    monkeypatch.setattr(corpora, "CACHE", tmp_path / "cache")
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    return origin


def test_a_corpus_is_fetched_once_and_then_found(tales: Path) -> None:
    path = corpora.files("tales")["all"]
    assert path.read_text() == TALE and path.is_relative_to(corpora.CACHE)
    tales.unlink()
    assert corpora.files("tales")["all"] == path


def test_the_data_folder_comes_first(tales: Path, tmp_path: Path) -> None:
    here = tmp_path / "data" / "tales" / "tales.txt"
    here.parent.mkdir(parents=True)
    here.write_text(TALE)
    assert corpora.files("tales")["all"] == here
    here.write_text(TALE + "!")
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
    assert ids.tolist() == SMALL.encode(TALE, special="token")
    assert (ids == SMALL.eos).sum() == 50
    [kept] = corpora.CACHE.glob("tokens*/*")
    before = kept.stat().st_mtime_ns
    assert corpora.encoded(tales, SMALL).tolist() == ids.tolist() and kept.stat().st_mtime_ns == before
    corpora.encoded(tales, BytePairTokenizer.of(bpe.learn(bpe.count_pieces([TALE]), 260)))
    assert len(list(kept.parent.iterdir())) == 2  # another vocabulary, other ids
    tales.write_text("")
    assert corpora.encoded(tales, SMALL).size == 0


@pytest.mark.skipif(DATA is None, reason="set DATA_DIR to a folder with the corpora")
@pytest.mark.parametrize("name", list(corpora.CORPORA))
def test_the_real_ones_are_as_their_hashes_say(name: str) -> None:
    assert all(path.is_relative_to(DATA) for path in corpora.files(name).values())


def test_a_corpus_is_cut_where_the_config_says(story: RunConfig) -> None:
    whole = corpora.load(replace(story.data, eval_tokens=0))
    n = sum(whole.facts["tokens"].values())
    assert whole.facts["tokens"]["val"] == pytest.approx(0.1 * n, abs=1)
    assert all(split.n_evaluated == split.size for split in whole.splits.values())
    assert whole.scoring == "all"
    train, val = (whole.splits[name].ids.tolist() for name in ("train", "val"))
    assert whole.tokenizer.decode(train + val) == STORY_TEXT
    part = corpora.load(replace(story.data, train_tokens=80, eval_tokens=24, val_fraction=0.4))
    assert part.splits["train"].ids.tolist() == train[:81] and part.splits["train"].size == 10
    assert part.splits["val"].ids.tolist() == (train + val)[-len(part.splits["val"].ids) :]
    assert part.facts["tokens"]["val"] == pytest.approx(0.4 * n, abs=1)
    assert {split.n_evaluated for split in part.splits.values()} == {3}


def test_a_split_shorter_than_a_window_is_refused(story: RunConfig) -> None:
    n = corpora.load(story.data).facts["tokens"]["val"]
    corpora.load(replace(story.data, window=n - 1, eval_tokens=0))
    with pytest.raises(UserError, match=rf"data\.window = {n}: must be less than {n}, the tokens of the val split of "):
        corpora.load(replace(story.data, window=n, eval_tokens=0))


def test_what_no_context_can_tell_is_counted(story: RunConfig) -> None:
    data = corpora.load(story.data)
    counts = Counter(data.splits["train"].ids.tolist())
    total = counts.total() + data.tokenizer.vocab_size
    for name, split in data.splits.items():
        targets = [token for part in split.parts(100) for token in part.targets.flatten().tolist()]
        expected = -sum(math.log((counts[token] + 1) / total) for token in targets) / len(targets)
        assert data.facts["unigram_loss"][name] == pytest.approx(expected, rel=1e-12)
        assert expected < math.log(data.tokenizer.vocab_size)
    n_ids = sum(data.facts["tokens"].values())
    assert data.facts["bytes_per_token"] == dict.fromkeys(("train", "val"), len(STORY_TEXT.encode()) / n_ids)


def test_a_vocabulary_has_as_many_entries_as_were_asked_for(story: RunConfig) -> None:
    for size in (257, 300):
        tokenizer = corpora.load(replace(story.data, vocab_size=size)).tokenizer
        assert tokenizer.vocab_size == size and tokenizer.eos == size - 1
        assert len(set(tokenizer.tokens)) == size - 1
        assert networks.make(story.model, size).embed.num_embeddings == size
        again = corpora.load(replace(story.data, vocab_size=size)).tokenizer  # from the cache
        assert again == tokenizer


def test_a_corpus_in_characters(story: RunConfig) -> None:
    data = corpora.load(replace(story.data, tokenizer="character"))
    assert data.tokenizer == replace(CharacterTokenizer.of(STORY_TEXT), begins=False)
    ids = np.concatenate([data.splits[name].ids for name in ("train", "val")])
    assert data.tokenizer.decode(ids.tolist()) == STORY_TEXT
    assert data.facts["bytes_per_token"]["train"] == 1
    assert data.tokenizer.encode(bpe.END) == encode_documents(data.tokenizer, bpe.END).tolist()


def test_a_character_of_the_validation_text_alone_can_be_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, story: RunConfig
) -> None:
    files = {"train": ("train.txt", "abc " * 40), "val": ("val.txt", "cab é " * 10)}
    for name, content in files.values():
        (tmp_path / name).write_text(content)
    digests = {split: (name, corpora.sha256(tmp_path / name)) for split, (name, _) in files.items()}
    monkeypatch.setitem(corpora.CORPORA, "letters", Corpus(".", digests, None))
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    data = corpora.load(replace(story.data, corpus="letters", tokenizer="character"))
    assert data.tokenizer.decode(data.splits["val"].ids.tolist()) == files["val"][1]
