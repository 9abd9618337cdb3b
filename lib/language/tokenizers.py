"""Byte-pair tokens, and tokenizers as the weights file stores them."""

import tempfile
from codecs import getincrementaldecoder
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
import tiktoken
import tokenizers

from lib.language import bpe, gpt1
from lib.language.gpt1 import GPT1Tokenizer
from lib.support.errors import UserError, shortened
from lib.tokenizer import CharacterTokenizer, NumberTokenizer


@dataclass(frozen=True)
class BytePairTokenizer(bpe.Separated):
    """Tokens of bytes, learned by `bpe.learn` or GPT-2's own; tiktoken does the work."""

    tokens: tuple[str, ...]  # in the order of their ids, each byte as the character of its number (Latin-1)
    begins: bool = True
    specials: tuple[str, ...] = (bpe.END,)  # the ids after those of `tokens`

    @classmethod
    def of(cls, tokens: list[bytes], specials: Iterable[str] = (bpe.END,)) -> "BytePairTokenizer":
        return cls(tuple(token.decode("latin-1") for token in tokens), specials=tuple(specials))

    @classmethod
    def load(cls, folder: str | Path) -> "BytePairTokenizer":
        """The tokenizer that `save` wrote; `begins`, a fact of a training text, is not stored."""
        return cls.of(*bpe.load(Path(folder) / "vocab.json", Path(folder) / "merges.txt"))

    def save(self, folder: str | Path) -> None:
        bpe.save(Path(folder), [token.encode("latin-1") for token in self.tokens], self.specials)

    @cached_property
    def encoding(self) -> tiktoken.Encoding:
        return bpe.encoding([token.encode("latin-1") for token in self.tokens], self.specials)

    def encode(self, text: str, special: bpe.Special = "refuse") -> list[int]:
        """Token ids. Raises UserError where a special token stands in a text and nobody has said what is meant."""
        bpe.check_special(text, special, self.specials)
        if special == "token":
            return self.encode_documents(text).tolist()
        return self.encoding.encode(text, disallowed_special=())

    def encode_documents(self, text: str) -> np.ndarray:
        """Token ids (n,) uint32 of documents and the special tokens between them."""
        parts = bpe.split(text, self.specials)
        ids = [self.encoding.encode_to_numpy(part, disallowed_special=()) for part in parts]
        ids[1::2] = [np.array([self.eos + self.specials.index(part)], np.uint32) for part in parts[1::2]]
        return np.concatenate(ids)

    def decode(self, ids: list[int]) -> str:
        return self.encoding.decode(ids)


@dataclass(frozen=True)
class IdTokenizer:
    """Token ids as they are, for a network that came without its vocabulary.

    >>> IdTokenizer(50).encode("3 14 15")
    [3, 14, 15]
    """

    vocab_size: int
    bos = eos = None
    pad = 0

    def encode(self, text: str) -> list[int]:
        ids = text.split()
        if not all(i.isdecimal() and len(i) < 10 and int(i) < self.vocab_size for i in ids):
            raise UserError(f"{shortened(text)}: must be token ids, numbers from 0 to {self.vocab_size - 1}")
        return list(map(int, ids))

    def decode(self, ids: list[int]) -> str:
        return " ".join(map(str, ids))


Tokenizer = CharacterTokenizer | NumberTokenizer | BytePairTokenizer | GPT1Tokenizer | IdTokenizer


def from_files(folder: Path, vocab_size: int) -> Tokenizer:
    """The tokenizer in vocab.json and merges.txt, or tokenizer.json: GPT-2's or GPT-1's kind; or else plain ids."""
    found: list[Tokenizer] = []
    with tempfile.TemporaryDirectory() as place, suppress(Exception):  # `tokenizers` raises no other
        if (folder / "tokenizer.json").exists() and not (folder / "vocab.json").exists():
            tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json")).model.save(place)
            folder = Path(place)
        with suppress(UserError):
            found.append(BytePairTokenizer.load(folder))
        first = gpt1.load(folder / "vocab.json", folder / "merges.txt")
        if "<unk>" in first.tokens and "a</w>" in first.tokens:
            found += [first, replace(first, specials=(), begins=False)]
    return next((one for one in found if one.vocab_size == vocab_size), IdTokenizer(vocab_size))


def pieces(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    """What each token adds to the text of those before it; joined, they are the text of all.

    A token in the middle of a character of several bytes adds nothing; the one with its last byte adds it all.
    """
    if not isinstance(tokenizer, BytePairTokenizer):
        pairs = [ids[max(0, i - 1) : i + 1] for i in range(len(ids))]  # GPT-1 writes a space only once a word follows
        return [tokenizer.decode(pair).removeprefix(tokenizer.decode(pair[:-1])) for pair in pairs]
    decoder, parts = getincrementaldecoder("utf-8")("replace"), tokenizer.encoding.decode_tokens_bytes(ids)
    return [decoder.decode(part, final=i == len(ids)) for i, part in enumerate(parts, 1)]


def to_dict(tokenizer: Tokenizer) -> dict[str, Any]:
    """What the weights file stores of a tokenizer."""
    return {"kind": type(tokenizer).__name__, **asdict(tokenizer)}


def from_dict(stored: dict[str, Any]) -> Tokenizer:
    kinds = {cls.__name__: cls for cls in get_args(Tokenizer)}
    return kinds[stored["kind"]](**{key: value for key, value in stored.items() if key != "kind"})


def encode_documents(tokenizer: Tokenizer, text: str) -> np.ndarray:
    """Token ids (n,) uint16 or uint32 of documents; "<|endoftext|>" is one token, unless tokens are characters."""
    if isinstance(tokenizer, bpe.Separated):
        return tokenizer.encode_documents(text)
    return np.array(tokenizer.encode(text), np.uint32)
