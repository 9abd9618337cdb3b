"""Texts to learn a language from: found on the disk or fetched once, checked, and encoded once.

A corpus is a folder of plain UTF-8 files below $DATA_DIR, or any file of one's own. Token ids are kept as uint16 or
uint32 arrays in a cache, from which they are mapped into memory. A process reads them through once, to check their
SHA-256; training reads them in windows. The cache is $CACHE_DIR, or .cache in the project, or the user's cache folder
where the project cannot be written.
"""

import hashlib
import http.client
import json
import math
import os
import tomllib
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lib.config import DataConfig
from lib.data import Batch, Dataset, Scoring
from lib.language import bpe, gpt1, tokenizers
from lib.language.tokenizers import BytePairTokenizer, Tokenizer
from lib.support.errors import UserError, say, shortened, suggestion
from lib.support.files import ROOT, temporary_of, write_atomically
from lib.tokenizer import CharacterTokenizer

CACHE = Path(os.environ.get("CACHE_DIR") or ROOT / ".cache")
VERSION = 3  # of how text is cut into pieces and pieces joined; another number, and nothing that is cached is used


@dataclass(frozen=True)
class Corpus:
    """The files of a corpus by split, each with its SHA-256, and where they come from (corpora.toml)."""

    folder: str
    files: dict[str, tuple[str, str]]
    origin: str | None = None


say_once = cache(say)

KNOWN = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
CORPORA, VOCABULARIES = ({name: Corpus(**of) for name, of in KNOWN[k].items()} for k in ("corpora", "vocabularies"))


@dataclass(frozen=True)
class Windows:
    """A long text in rows of `width` tokens that follow one another, each token scored; a Batch is made when asked.

    The rows are the same in every epoch and do not overlap, so a row's first tokens are predicted from little. What
    is left at the end is dropped. `ids` (n,) may be mapped from a file: only the rows asked for are read.
    """

    ids: np.ndarray
    width: int
    n_evaluated: int  # rows that an evaluation looks at, spread evenly over all
    device: torch.device | str = "cpu"

    def __getitem__(self, rows: Tensor) -> Batch:
        starts = rows.numpy()[:, None] * self.width
        ids = torch.from_numpy(self.ids[starts + np.arange(self.width + 1)].astype(np.int64)).to(self.device)
        return Batch(ids[:, :-1], ids[:, 1:], None)

    def to(self, device: torch.device | str) -> "Windows":
        return replace(self, device=device)

    @property
    def size(self) -> int:
        return (len(self.ids) - 1) // self.width

    @property
    def scoring(self) -> Scoring:
        return "all"

    def parts(self, n_tokens: int) -> Iterator[Batch]:
        """The evaluated rows, in pieces of at most `n_tokens` tokens, or of one row."""
        chosen = torch.arange(self.n_evaluated) * self.size // self.n_evaluated
        return (self[rows] for rows in chosen.split(max(1, n_tokens // self.width)))


def files(name: str, val_name: str = "") -> dict[str, Path]:
    """The files of a corpus, or of text files of one's own, by split.

    Raises UserError if there is no such corpus or file, it cannot be fetched, or its content is another.
    """
    if name in CORPORA:
        if val_name:
            raise UserError(f"data.val_corpus = {val_name!r}: must be empty unless data.corpus is a text file")
        return find_all(CORPORA[name])
    known = f"one of {', '.join(CORPORA)}, or a text file{suggestion(name, CORPORA)}"
    for field, each, allowed in (("corpus", name, known), ("val_corpus", val_name or name, "a text file, or empty")):
        if not os.path.isfile(each):  # unlike Path's method, False for a name that cannot be one
            what = "a folder" if os.path.isdir(each) else "no such file"
            raise UserError(f"data.{field} = {shortened(each)} ({what}): must be {allowed}")
    return {"train": Path(name), "val": Path(val_name)} if val_name else {"all": Path(name)}


def find_all(corpus: Corpus) -> dict[str, Path]:
    return {split: find(corpus, name, digest) for split, (name, digest) in corpus.files.items()}


def find(corpus: Corpus, name: str, digest: str) -> Path:
    """A file in $DATA_DIR or in the cache, fetched into the cache if it is in neither."""
    given = os.environ.get("DATA_DIR")
    cached = [folder / corpus.folder / name for folder in cache_folders()]
    here = Path(given) / corpus.folder / name if given else cached[0]
    for path in dict.fromkeys((here, *cached)):
        if path.is_file():
            if sha256(path) == digest:
                return path
            if path not in cached or corpus.origin is None:
                raise UserError(f"{path}: not the file that is meant, or damaged (SHA-256 must be {digest})")
            say(f"{path}: damaged; it is fetched again")
    put = f"put {corpus.folder}/{name} into the folder that DATA_DIR names (SHA-256 {digest})"
    if corpus.origin is None:
        raise UserError(f"{here}: no such file; {put}, or use a text of your own: --data.corpus FILE")
    try:
        with urllib.request.urlopen(corpus.origin + name, timeout=30) as answer:
            content = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise UserError(f"{corpus.origin + name}: cannot be fetched ({error}); {put}") from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise UserError(f"{corpus.origin + name}: not the file that is meant; {put}")
    cached[-1].parent.mkdir(parents=True, exist_ok=True)
    write_atomically(cached[-1], content)
    return cached[-1]


def cache_folders() -> list[Path]:
    """The folders of the cache: CACHE, and the user's own where CACHE is the default and cannot be written."""
    there = next(folder for folder in (CACHE, *CACHE.parents) if folder.exists())
    if os.environ.get("CACHE_DIR") or (there.is_dir() and os.access(there, os.W_OK)):
        return [CACHE]
    return [CACHE, Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "grokking"]


def kept(name: str, make: Callable[[], Iterable[bytes]]) -> Path:
    """The file of that name in the cache; written first from the parts that `make` yields, if it is not there.

    The stored name ends with the SHA-256 of the content. A file whose content is another is told of and made again.
    """
    name, suffix = os.path.splitext(name)
    for folder in cache_folders():
        for path in folder.glob(f"{name}-*{suffix}"):
            if path.stem.endswith(sha256(path)[:16]):
                return path
            say(f"{path}: damaged; it is made again")
    if folder != CACHE:
        say_once(f"{CACHE}: cannot be written; {folder} is the cache, unless CACHE_DIR names another folder")
    temporary = temporary_of(folder / f"{name}{suffix}")
    temporary.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    try:
        with open(temporary, "wb") as file:
            for part in make():
                file.write(part)
                digest.update(part)
        result = folder / f"{name}-{digest.hexdigest()[:16]}{suffix}"
        os.replace(temporary, result)
    except OSError as error:
        if error.filename is not None:  # a failed write names no file
            raise
        raise UserError(f"{folder / name}: cannot be written ({error.strerror})") from None
    finally:
        temporary.unlink(missing_ok=True)
    return result


def sha256(path: Path) -> str:
    """The digest of a file, read again only if the file was written since."""
    written = path.stat()
    return digest_of(path, written.st_mtime_ns, written.st_size, written.st_ino)


@lru_cache(maxsize=64)
def digest_of(path: Path, *_: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load(config: DataConfig) -> Dataset:
    """A corpus as windows of token ids. A text in one file is cut: its last `val_fraction` is the validation split.

    The vocabulary, and the bytes per token, are then those of the whole file. Raises UserError if a split has fewer
    tokens than one window, the text does not fill the vocabulary, or a file cannot be read or kept.
    """
    try:
        return read(config)
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read or written ({error.strerror})") from None


def check_unchanged(config: DataConfig, digests: dict[str, str], since: str) -> None:
    """Raises UserError if a text file of one's own is another than that of a run's `digests`, SHA-256 by split."""
    names = {} if config.corpus in CORPORA else {"corpus": config.corpus, "val_corpus": config.val_corpus}
    for (field, name), known in zip(names.items(), digests.values(), strict=False):
        if Path(name).is_file() and known != sha256(Path(name)):
            changed = f"data.{field} = {name!r}: has changed since {since}"
            raise UserError(f"{changed}; use --fresh to train it again")


def read(config: DataConfig) -> Dataset:
    """`load`, with OSErrors as they come."""
    paths = files(config.corpus, config.val_corpus)
    for _ in bpe.blocks(paths["val"], "data.val_corpus") if config.val_corpus else ():
        pass  # all of it is UTF-8
    tokenizer = find_tokenizer(config, paths.get("train") or paths["all"], *paths.values())
    ids = {split: encoded(path, tokenizer) for split, path in paths.items()}
    per_token = {split: paths[split].stat().st_size / max(1, len(ids[split])) for split in paths}
    if "all" in ids:
        whole = ids["all"]
        cut = round((1 - config.val_fraction) * len(whole))
        ids, per_token = {"train": whole[:cut], "val": whole[cut:]}, dict.fromkeys(("train", "val"), per_token["all"])
    if config.train_tokens:
        ids["train"] = ids["train"][: config.train_tokens + 1]  # one more, to be predicted
    # <bos> is END; a network that never read END in training must not be given one
    tokenizer = replace(tokenizer, begins=bool((ids["train"] == tokenizer.eos).any()))
    splits = {}
    for split, of_split in ids.items():
        n = (len(of_split) - 1) // config.window
        if n < 1:
            path = paths.get(split) or paths["all"]
            if len(of_split) < 2:
                has = f"{len(of_split)} tokens in its {split} split"
                raise UserError(f"{path}: {has}; must have at least {config.window + 1}, one more than data.window")
            allowed = f"less than {len(of_split)}, the tokens of the {split} split of {path}"
            raise UserError(f"data.window = {config.window}: must be {allowed}")
        asked = max(1, config.eval_tokens // config.window) if config.eval_tokens else n
        splits[split] = Windows(of_split, config.window, min(n, asked))
    if config.tokenizer == "bpe" and tokenizer.vocab_size < config.vocab_size:
        filled = f"at most {tokenizer.vocab_size}, all that the text in {paths.get('train') or paths['all']} fills"
        raise UserError(f"data.vocab_size = {config.vocab_size}: must be {filled}")
    facts = {
        "sha256": {split: sha256(path) for split, path in paths.items()},
        "bytes_per_token": per_token,
        "unigram_loss": unigram_losses(splits, tokenizer.vocab_size),
        "tokens": {split: len(of_split) for split, of_split in ids.items()},
    }
    return Dataset(tokenizer, splits, facts)


def unigram_losses(splits: dict[str, Windows], vocab_size: int) -> dict[str, float]:
    """The loss (nats per token) of a unigram model: the frequencies of the train split, with one added to each count.

    The loss is over the evaluated windows. A network with a higher loss has learned nothing from the context.
    """
    ids, some = splits["train"].ids, 2**20  # of a mapped file, a part at a time
    parts = (np.bincount(ids[i : i + some], minlength=vocab_size) for i in range(0, len(ids), some))
    counts = 1.0 + sum(parts)
    nll = -np.log(counts / counts.sum())
    losses = {}
    for split, windows in splits.items():
        parts = [nll[part.targets.numpy()].ravel() for part in windows.parts(2**20)]
        losses[split] = math.fsum(map(np.sum, parts)) / sum(map(len, parts))
    return losses


def find_tokenizer(config: DataConfig, path: Path, *others: Path) -> Tokenizer:
    """The tokenizer of a config. A vocabulary of byte pairs is learned once from the file `path`.

    A vocabulary of characters holds those of `others` as well, so that every split can be encoded.
    """
    if config.tokenizer in VOCABULARIES:
        found = find_all(VOCABULARIES[config.tokenizer])
        if config.tokenizer == "gpt1":
            return gpt1.load(found["ids"], found["merges"])
        return BytePairTokenizer.of(bpe.gpt2(found["merges"], found["ids"]))
    if config.tokenizer == "character":
        texts = (block for each in {path, *others} for block in bpe.blocks(each))
        return CharacterTokenizer("".join(sorted(set().union(*texts))))

    def learned() -> Iterator[bytes]:
        blocks = bpe.progress(bpe.blocks(path), f"counting the words of {path}", "million characters")
        tokens = bpe.learn(bpe.count_pieces(blocks), config.vocab_size - 1)  # one is the end of a document
        yield json.dumps([token.decode("latin-1") for token in tokens]).encode()

    stored = kept(f"vocabularies{VERSION}/{sha256(path)[:16]}-{config.vocab_size}.json", learned)
    return BytePairTokenizer(json.loads(stored.read_text()))


def encoded(path: Path, tokenizer: Tokenizer) -> np.ndarray:
    """The token ids of a file, (n,) uint16 or uint32, mapped from the cache; "<|endoftext|>" is one token.

    The first call encodes the file in blocks, so that neither text nor ids need fit into memory.
    """
    dtype = np.uint16 if tokenizer.vocab_size <= 2**16 else np.uint32
    vocabulary = hashlib.sha256(json.dumps(tokenizers.to_dict(tokenizer)).encode()).hexdigest()

    def ids() -> Iterator[bytes]:
        for block in bpe.progress(bpe.blocks(path), f"encoding {path}", "million characters"):
            yield tokenizers.encode_documents(tokenizer, block).astype(dtype).tobytes()

    stored = kept(f"tokens{VERSION}/{sha256(path)[:16]}-{vocabulary[:16]}.{np.dtype(dtype).name}", ids)
    return np.memmap(stored, dtype, "r") if stored.stat().st_size else np.empty(0, dtype)
