"""Corpora: damaged caches, tiny texts, a validation file, and where the cache lies."""

import io
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lib import train
from lib.config import DataConfig, RunConfig
from lib.language import bpe, corpora
from lib.language.corpora import Corpus
from lib.support.errors import UserError

ROOT = Path(train.__file__).resolve().parents[1]
TALE = "Once there was a cat.\n\n<|endoftext|>\nTwice there was a dog; never 17 birds? " * 30


@pytest.fixture
def tale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataConfig:
    """A small text of one's own by byte pairs; nothing is cached outside of the test's folder."""
    monkeypatch.setattr(corpora, "CACHE", tmp_path / "cache")
    (tmp_path / "tale.txt").write_text(TALE, encoding="utf-8")
    return DataConfig(task="corpus", corpus=str(tmp_path / "tale.txt"), tokenizer="bpe", vocab_size=280, window=16)


def ids(config: DataConfig) -> dict[str, list[int]]:
    return {name: split.ids.tolist() for name, split in corpora.load(config).splits.items()}


def cached() -> list[Path]:
    return sorted(path for path in corpora.CACHE.rglob("*") if path.is_file())


DAMAGES = {
    "cut": lambda content: content[:-2],
    "cut at an odd byte": lambda content: content[:-3],
    "empty": lambda content: b"",
    "one bit": lambda content: content[:40] + bytes([content[40] ^ 1]) + content[41:],
    "zeros": lambda content: bytes(len(content)),
    "longer": lambda content: content + content[-2:],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_file_is_told_of_and_made_again(
    tale: DataConfig, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    whole = ids(tale)
    before = {path: path.read_bytes() for path in cached()}
    assert len(before) == 2  # a vocabulary, and ids
    for path, content in before.items():
        path.write_bytes(DAMAGES[damage](content))
        assert ids(tale) == whole
        assert capsys.readouterr().err == f"{path}: damaged; it is made again\n"
        assert {path: path.read_bytes() for path in cached()} == before
        assert ids(tale) == whole
        assert capsys.readouterr().err == ""


def test_half_written_files_are_never_used(tale: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ids(tale)
    for path in cached():
        half = path.read_bytes()[: path.stat().st_size // 2]
        path.with_name(f"{path.name}.{os.getpid()}.tmp").write_bytes(half)
        path.with_stem(path.stem[:-17]).with_name(path.stem[:-17] + path.suffix + ".1.tmp").write_bytes(half)
        path.unlink()
    assert ids(tale) == whole

    monkeypatch.setattr(corpora, "CACHE", tmp_path / "another")
    monkeypatch.setattr(bpe, "BLOCK", 100)
    real = corpora.tokenizers.encode_documents
    calls = iter(range(5))

    def interrupted(*args: object) -> np.ndarray:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(corpora.tokenizers, "encode_documents", interrupted)
    with pytest.raises(KeyboardInterrupt):
        corpora.load(tale)
    assert [path.suffix for path in cached()] == [".json"]  # no ids, and nothing half-written
    monkeypatch.setattr(corpora.tokenizers, "encode_documents", real)
    assert ids(tale) == whole


def test_a_process_that_is_killed_leaves_nothing_that_is_used(tale: DataConfig, tmp_path: Path) -> None:
    whole = ids(tale)
    cache = tmp_path / "killed"
    code = f"""
import os, signal
from lib.config import DataConfig
from lib.language import bpe, corpora
bpe.BLOCK = 100
real, calls = corpora.tokenizers.encode_documents, iter(range(5))
def killed(*args):
    if next(calls, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args)
corpora.tokenizers.encode_documents = killed
corpora.load({tale!r})
"""
    environment = os.environ | {"CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT)}
    call = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert call.returncode == -signal.SIGKILL, call.stderr
    corpora.CACHE = cache  # the fixture puts the old one back
    assert len(cached()) == 2 and ids(tale) == whole


def test_a_fetched_file_that_is_damaged_is_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    origin = tmp_path / "origin" / "tales.txt"
    origin.parent.mkdir()
    origin.write_text(TALE)
    made = Corpus("tales", {"all": ("tales.txt", corpora.sha256(origin))}, origin.parent.as_uri() + "/")
    monkeypatch.setitem(corpora.CORPORA, "tales", made)
    monkeypatch.setattr(corpora, "CACHE", tmp_path / "cache")
    monkeypatch.delenv("DATA_DIR", raising=False)
    path = corpora.files("tales")["all"]
    path.write_text(TALE[:100])
    assert corpora.files("tales") == {"all": path} and path.read_text() == TALE
    assert capsys.readouterr().err == f"{path}: damaged; it is fetched again\n"
    path.write_text(TALE[:50])
    origin.unlink()
    with pytest.raises(UserError, match=r"tales\.txt: cannot be fetched"):
        corpora.files("tales")


@pytest.mark.parametrize("tokenizer", ["bpe", "character"])
@pytest.mark.parametrize(("text", "n_tokens"), [("", 0), ("a", 1)])
def test_an_empty_text_is_one_line_that_says_what_is_needed(
    tale: DataConfig, tokenizer: str, text: str, n_tokens: int
) -> None:
    Path(tale.corpus).write_text(text)
    with pytest.raises(UserError) as caught:
        corpora.load(replace(tale, tokenizer=tokenizer))
    has = f"{tale.corpus}: {n_tokens} tokens in its train split"
    assert str(caught.value) == f"{has}; must have at least 17, one more than data.window"


def test_a_tiny_text_is_one_line_that_says_what_is_needed(tale: DataConfig) -> None:
    tale = replace(tale, tokenizer="character")
    Path(tale.corpus).write_text("abcdefghij")
    with pytest.raises(UserError) as caught:
        corpora.load(tale)
    assert str(caught.value) == f"data.window = 16: must be less than 9, the tokens of the train split of {tale.corpus}"
    with pytest.raises(UserError) as caught:
        corpora.load(replace(tale, window=8))
    has = f"{tale.corpus}: 1 tokens in its val split"
    assert str(caught.value) == f"{has}; must have at least 9, one more than data.window"


def test_a_vocabulary_that_the_text_cannot_fill_says_so(tale: DataConfig) -> None:
    Path(tale.corpus).write_text("aaaa bbbb cccc " * 30)
    with pytest.raises(UserError) as caught:
        corpora.load(replace(tale, vocab_size=5000, window=2))
    filled = int(str(caught.value).split("at most ")[1].split(",")[0])
    text = f"all that the text in {tale.corpus} fills"
    assert str(caught.value) == f"data.vocab_size = 5000: must be at most {filled}, {text}"
    assert corpora.load(replace(tale, vocab_size=filled, window=2)).tokenizer.vocab_size == filled
    with pytest.raises(UserError, match=rf"data\.vocab_size = {filled + 1}: must be at most {filled}, "):
        corpora.load(replace(tale, vocab_size=filled + 1, window=2))


@pytest.mark.parametrize("field", ["data.text", "data.corpus", "data.val_corpus", "train.prompt"])
def test_a_lone_surrogate_is_one_line_that_names_the_field(field: str) -> None:
    with pytest.raises(UserError) as caught:
        RunConfig().override({field: "caf\udce9"})
    assert str(caught.value) == rf"{field} = 'caf\udce9': must be text in UTF-8"
    assert RunConfig().override({field: "café 🐈"}).flat()[field] == "café 🐈"
    with pytest.raises(UserError) as caught:
        RunConfig().override({field: "word " * 5000 + "\udce9"})
    assert len(str(caught.value)) < 150 and "characters)" in str(caught.value)


def test_a_lone_surrogate_leaves_no_run_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = tmp_path / "runs"
    assert train.main(["memorize", "--data.text", "caf\udce9", "--checkpoints", str(runs)]) == 1
    out, err = capsys.readouterr()
    assert err == "error: data.text = 'caf\\udce9': must be text in UTF-8\n" and out == "" and not runs.exists()


def test_a_validation_file_of_ones_own(tale: DataConfig, tmp_path: Path) -> None:
    (tmp_path / "val.txt").write_text("Twice there was a cat, and é. " * 20, encoding="utf-8")
    own = replace(tale, val_corpus=str(tmp_path / "val.txt"))
    data = corpora.load(own)
    assert data.tokenizer.decode(data.splits["train"].ids.tolist()) == TALE
    assert data.tokenizer.decode(data.splits["val"].ids.tolist()) == (tmp_path / "val.txt").read_text(encoding="utf-8")
    assert data.tokenizer == corpora.load(tale).tokenizer  # learned from data.corpus alone
    assert data.facts["sha256"] == {
        split: corpora.sha256(Path(name)) for split, name in (("train", own.corpus), ("val", own.val_corpus))
    }
    characters = corpora.load(replace(own, tokenizer="character"))
    assert "é" in characters.tokenizer.characters
    assert characters.facts["bytes_per_token"] == {"train": 1, "val": pytest.approx(31 / 30)}


def test_without_a_validation_file_nothing_changes(tale: DataConfig) -> None:
    assert DataConfig().val_corpus == ""
    assert RunConfig().id == "44136fa355" and RunConfig(data=replace(tale, corpus="x")).flat()["data.val_corpus"] == ""
    assert set(corpora.load(tale).facts["sha256"]) == {"all"}


def test_a_validation_file_that_cannot_be_used_is_named(tale: DataConfig, tmp_path: Path) -> None:
    def message(**changes: object) -> str:
        with pytest.raises(UserError) as caught:
            corpora.load(replace(tale, **changes))
        return str(caught.value)

    binary, empty = tmp_path / "binary.txt", tmp_path / "empty.txt"
    binary.write_bytes(b"caf\xe9")
    empty.write_text("")
    assert message(val_corpus="no.txt") == "data.val_corpus = 'no.txt' (no such file): must be a text file, or empty"
    assert message(val_corpus=str(tmp_path)).endswith("(a folder): must be a text file, or empty")
    assert message(val_corpus=str(binary)).startswith(f"data.val_corpus = {str(binary)!r}: must be a text in UTF-8")
    needed = "must have at least 17, one more than data.window"
    assert message(val_corpus=str(empty)) == f"{empty}: 0 tokens in its val split; {needed}"


@pytest.mark.parametrize("field", ["corpus", "val_corpus"])
def test_a_text_in_place_of_its_file_is_shortened(tale: DataConfig, field: str) -> None:
    with pytest.raises(UserError) as caught:
        corpora.load(replace(tale, **{field: "a word " * 2000}))
    shown = repr(("a word " * 9)[:60]) + "… (14,000 characters)"
    assert str(caught.value).startswith(f"data.{field} = {shown} (no such file): must be ")
    with pytest.raises(UserError, match=rf"data\.{field} = 'a\\x00b' \(no such file\): must be "):
        corpora.load(replace(tale, **{field: "a\0b"}))


def test_a_corpus_with_its_own_validation_split_takes_no_other(
    tale: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = {split: ("tale.txt", corpora.sha256(Path(tale.corpus))) for split in ("train", "val")}
    monkeypatch.setitem(corpora.CORPORA, "both", Corpus(".", both, None))
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    with pytest.raises(UserError) as caught:
        corpora.load(replace(tale, corpus="both", val_corpus=tale.corpus))
    assert str(caught.value) == (f"data.val_corpus = {tale.corpus!r}: must be empty unless data.corpus is a text file")


def test_a_changed_validation_file_is_named(tale: DataConfig, tmp_path: Path) -> None:
    (tmp_path / "val.txt").write_text(TALE)
    own = replace(tale, val_corpus=str(tmp_path / "val.txt"))
    since = (corpora.load(own).facts["sha256"], "a stored run was trained on it")
    corpora.check_unchanged(own, *since)
    (tmp_path / "val.txt").write_text(TALE + "!")
    with pytest.raises(UserError, match=r"data\.val_corpus = .*val\.txt': has changed since .*; use --fresh"):
        corpora.check_unchanged(own, *since)
    (tmp_path / "val.txt").unlink()
    corpora.check_unchanged(own, *since)  # as for a corpus that is gone


def load_elsewhere(config: DataConfig, **environment: str) -> subprocess.CompletedProcess[str]:
    code = f"from lib.language import corpora; from lib.config import DataConfig; c = {config!r}\n"
    code += "corpora.load(c); corpora.load(c); print(corpora.cache_folders()[-1])"
    given = {name: value for name, value in os.environ.items() if name != "CACHE_DIR"}
    given |= {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run([sys.executable, "-c", code], env=given, capture_output=True, text=True)


def test_the_cache_lies_where_cache_dir_says(tale: DataConfig, tmp_path: Path) -> None:
    call = load_elsewhere(tale, CACHE_DIR=str(tmp_path / "elsewhere"))
    assert call.returncode == 0 and call.stderr == "" and call.stdout == f"{tmp_path / 'elsewhere'}\n"
    assert len([path for path in (tmp_path / "elsewhere").rglob("*") if path.is_file()]) == 2


def test_a_checkout_that_cannot_be_written_leaves_the_cache_to_the_user(
    tale: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = ids(tale)
    file = tmp_path / "no_folder"
    file.write_text("")
    monkeypatch.setattr(corpora, "CACHE", file / ".cache")
    monkeypatch.delenv("CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    corpora.say_once.cache_clear()
    assert ids(tale) == whole == ids(replace(tale, tokenizer="bpe"))
    home = tmp_path / "home" / "grokking"
    told = f"{file / '.cache'}: cannot be written; {home} is the cache, unless CACHE_DIR names another folder\n"
    assert capsys.readouterr().err == told
    assert len([path for path in home.rglob("*") if path.is_file()]) == 2
    assert ids(tale) == whole and capsys.readouterr().err == ""
    monkeypatch.setenv("CACHE_DIR", str(corpora.CACHE))  # what was asked for by name is not replaced
    with pytest.raises(UserError, match="cannot be read or written"):
        corpora.load(tale)


def test_what_a_read_only_cache_holds_is_used(
    tale: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = ids(tale)
    monkeypatch.delenv("CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(corpora.os, "access", lambda *_: False)  # tests may run as root, who may write anywhere
    assert ids(tale) == whole and capsys.readouterr().err == "" and not (tmp_path / "home").exists()


def test_encoding_that_lasts_tells_of_its_progress(
    tale: DataConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bpe, "BLOCK", 100)
    monkeypatch.setattr(bpe, "PATIENCE", -1.0)
    corpora.load(tale)
    lines = io.StringIO(capsys.readouterr().err).readlines()
    for begin in (
        f"counting the words of {tale.corpus}: 1 m",
        "learning byte pairs: 1 of 23",
        f"encoding {tale.corpus}: 1 m",
    ):
        assert any(line.startswith(begin) for line in lines)
