"""Text to token ids and back. Tokenizers behind one interface: `encode`, `decode`, `vocab_size`, `bos`, `eos`."""

import re
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, get_args

import numpy as np
import tiktoken

from lib import bpe
from lib.fields import UserError
from lib.gpt1 import GPT1Tokenizer


@dataclass(frozen=True)
class CharacterTokenizer:
    """One token per character, after three special tokens.

    >>> t = CharacterTokenizer("+0123456789=")
    >>> t.encode("7+5=")
    [11, 3, 9, 14]
    """

    characters: str  # sorted, each once
    begins: bool = True  # whether there is a <bos> before what it was made for; a corpus has none

    pad, eos = 0, 2
    SPECIAL = ("<pad>", "<bos>", "<eos>")

    @classmethod
    def of(cls, text: str) -> "CharacterTokenizer":
        """The tokenizer whose vocabulary is the characters of `text`."""
        return cls("".join(sorted(set(text))))

    @property
    def bos(self) -> int | None:
        return 1 if self.begins else None

    @property
    def vocab_size(self) -> int:
        return len(self.SPECIAL) + len(self.characters)

    def encode(self, text: str) -> list[int]:
        """Token ids without special tokens. Raises UserError for a character outside the vocabulary."""
        for character in text:
            if character not in self.characters:
                raise UserError(f"character {character!r} in {text!r}: must be one of {' '.join(self.characters)!r}")
        return [len(self.SPECIAL) + self.characters.index(c) for c in text]

    def encode_documents(self, text: str) -> np.ndarray:
        """Token ids (n,) uint32. There is no token between documents: "<|endoftext|>" is its characters."""
        return np.array(self.encode(text), np.uint32)

    def decode(self, ids: list[int]) -> str:
        """The text of `ids`; special tokens are shown by name, so that nothing a model says is hidden."""
        return "".join([*self.SPECIAL, *self.characters][i] for i in ids)


@dataclass(frozen=True)
class NumberTokenizer:
    """One token per number 0 … p-1, then the operation (id p) and "=" (id p + 1).

    >>> NumberTokenizer(97, "/").encode("12/5=80")
    [12, 97, 5, 98, 80]
    """

    p: int
    operation: str

    bos = eos = None
    pad = 0  # all equations have the same number of tokens: nothing is ever padded

    @property
    def vocab_size(self) -> int:
        return self.p + 2

    def encode(self, text: str) -> list[int]:
        """Token ids of an equation or its beginning; spaces do not count. Raises UserError for anything else."""
        symbols = {self.operation: self.p, "=": self.p + 1}
        ids = []
        for piece in re.findall(r"\d+|\S", text):
            if piece in symbols:
                ids.append(symbols[piece])
            elif piece.isascii() and piece.isdigit() and int(piece) < self.p:
                ids.append(int(piece))
            else:
                allowed = f"a number from 0 to {self.p - 1}, {self.operation} or ="
                raise UserError(f"{piece!r} in {text!r}: must be {allowed}")
        return ids

    def decode(self, ids: list[int]) -> str:
        return "".join({self.p: self.operation, self.p + 1: "="}.get(i, str(i)) for i in ids)


@dataclass(frozen=True)
class BytePairTokenizer(bpe.Separated):
    """Tokens of bytes, learned by `bpe.learn` or GPT-2's own; tiktoken does the work."""

    tokens: tuple[str, ...]  # in the order of their ids, each byte as the character of its number (Latin-1)
    begins: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "tokens", tuple(self.tokens))  # a list, when read from a file

    @classmethod
    def of(cls, tokens: list[bytes]) -> "BytePairTokenizer":
        return cls(tuple(token.decode("latin-1") for token in tokens))

    @cached_property
    def encoding(self) -> tiktoken.Encoding:
        return bpe.encoding([token.encode("latin-1") for token in self.tokens])

    def encode(self, text: str, special: bpe.Special = "refuse") -> list[int]:
        """Token ids. Raises UserError where "<|endoftext|>" stands in a text and nobody has said what is meant."""
        bpe.check_special(text, special)
        return self.encoding.encode(
            text, allowed_special={bpe.END} if special == "token" else set(), disallowed_special=()
        )

    def encode_documents(self, text: str) -> np.ndarray:
        """Token ids (n,) uint32 of documents, each with "<|endoftext|>" after it."""
        return self.encoding.encode_to_numpy(text, allowed_special={bpe.END})

    def decode(self, ids: list[int]) -> str:
        return self.encoding.decode(ids)


Tokenizer = CharacterTokenizer | NumberTokenizer | BytePairTokenizer | GPT1Tokenizer


def to_dict(tokenizer: Tokenizer) -> dict[str, Any]:
    """What the weights file stores of a tokenizer."""
    return {"kind": type(tokenizer).__name__, **asdict(tokenizer)}


def from_dict(stored: dict[str, Any]) -> Tokenizer:
    kinds = {cls.__name__: cls for cls in get_args(Tokenizer)}
    return kinds[stored["kind"]](**{key: value for key, value in stored.items() if key != "kind"})
