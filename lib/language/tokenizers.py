"""Byte-pair tokens, and tokenizers as the weights file stores them."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
import tiktoken

from lib.language import bpe
from lib.language.gpt1 import GPT1Tokenizer
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
    def load(cls, folder: Path) -> "BytePairTokenizer":
        """The tokenizer that `save` wrote; `begins`, a fact of a training text, is not stored."""
        return cls.of(*bpe.load(folder / "vocab.json", folder / "merges.txt"))

    def save(self, folder: Path) -> None:
        bpe.save(folder, [token.encode("latin-1") for token in self.tokens], self.specials)

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


Tokenizer = CharacterTokenizer | NumberTokenizer | BytePairTokenizer | GPT1Tokenizer


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
