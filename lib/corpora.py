"""Texts to learn a language from: found on the disk or fetched once, checked, and encoded once.

A corpus is a folder of plain UTF-8 files below $DATA_DIR, or any file of one's own. Token ids are kept as uint16 or
uint32 arrays in a cache, from which they are mapped into memory and never read whole.
"""

import hashlib
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tiktoken

from lib import bpe
from lib.fields import UserError, suggestion
from lib.runs import ROOT
from lib.tracker import write_atomically

CACHE = ROOT / ".cache"


@dataclass(frozen=True)
class Corpus:
    """The files of a corpus by split, each with its SHA-256, and where they come from."""

    folder: str
    files: dict[str, tuple[str, str]]  # split -> (name, SHA-256); "all": one file for all
    origin: str | None  # an address, to which a name is added; None: to be had from nowhere as one file


CORPORA = {
    "wikitext2": Corpus(
        "wikitext2",
        {
            "train": ("train.txt", "9e9fa1ad55b1c2c95b08e37dd8e653f638fac2c6de904b79e813611eefbc985f"),
            "val": ("valid.txt", "f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8"),
            "test": ("test.txt", "d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0"),
        },
        "https://raw.githubusercontent.com/pytorch/examples/77f55b912142e11fcfdf5b530231fb9c52f181e8"
        "/word_language_model/data/wikitext-2/",
    ),
    "tinystories": Corpus(
        "tinystories",
        {
            "train": ("train.txt", "8e35bf438a3892538a83d6f7ffd8154d9612cd38b70e4a3796f3f51c122cf94c"),
            "val": ("valid.txt", "baf76acd07c561f1229b675533dd424e990941355b947d457f370618ece69bfb"),
        },
        None,
    ),
    "tinyshakespeare": Corpus(
        "tinyshakespeare",
        {"all": ("input.txt", "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed")},
        "https://raw.githubusercontent.com/karpathy/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e"
        "/data/tinyshakespeare/",
    ),
}


def files(name: str) -> dict[str, Path]:
    """The files of a corpus, or of a text file of one's own, by split.

    Raises UserError if there is no such corpus or file, it cannot be fetched, or its content is another.
    """
    if name not in CORPORA:
        path = Path(name)
        if not path.is_file():
            known = ", ".join(CORPORA)
            raise UserError(f"corpus {name!r}: must be one of {known}, or a text file{suggestion(name, CORPORA)}")
        return {"all": path}
    corpus = CORPORA[name]
    return {split: find(corpus, file, digest) for split, (file, digest) in corpus.files.items()}


def find(corpus: Corpus, name: str, digest: str) -> Path:
    """A file in $DATA_DIR or in the cache, fetched into the cache if it is in neither."""
    given = os.environ.get("DATA_DIR")
    here, cached = Path(given or CACHE) / corpus.folder / name, CACHE / corpus.folder / name
    for path in (here, cached):
        if path.is_file():
            if sha256(path) != digest:
                raise UserError(f"{path}: not the file that is meant, or damaged (SHA-256 must be {digest})")
            return path
    put = f"put {corpus.folder}/{name} into the folder that DATA_DIR names (SHA-256 {digest})"
    if corpus.origin is None:
        raise UserError(f"{here}: no such file; {put}")
    try:
        with urllib.request.urlopen(corpus.origin + name, timeout=30) as answer:
            content = answer.read()
    except (OSError, urllib.error.URLError) as error:
        raise UserError(f"{corpus.origin + name}: cannot be fetched ({error}); {put}") from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise UserError(f"{corpus.origin + name}: not the file that is meant; {put}")
    cached.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(cached, content)
    return cached


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def encoded(path: Path, encoding: tiktoken.Encoding) -> np.ndarray:
    """The token ids of a file, (n,) uint16 or uint32, mapped from the cache; "<|endoftext|>" is one token.

    Encoded on the first call, in blocks, so that neither text nor ids need fit into memory.
    """
    dtype = np.uint16 if encoding.n_vocab <= 2**16 else np.uint32
    vocabulary = hashlib.sha256(repr(encoding.token_byte_values()).encode()).hexdigest()
    kept = CACHE / "tokens" / f"{sha256(path)[:16]}-{vocabulary[:16]}.{np.dtype(dtype).name}"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        temporary = kept.with_name(f"{kept.name}.{os.getpid()}.tmp")
        with open(temporary, "wb") as file:
            for block in bpe.blocks(path):
                file.write(np.array(encoding.encode(block, allowed_special={bpe.END}), dtype).tobytes())
        os.replace(temporary, kept)
    return np.memmap(kept, dtype, "r") if kept.stat().st_size else np.empty(0, dtype)
