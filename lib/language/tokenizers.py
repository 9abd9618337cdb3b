"""Byte-pair tokens, and tokenizers as the weights file stores them."""

from dataclasses import asdict, dataclass
from functools import cached_property
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

    @classmethod
    def of(cls, tokens: list[bytes]) -> "BytePairTokenizer":
        return cls(tuple(token.decode("latin-1") for token in tokens))

    @cached_property
    def encoding(self) -> tiktoken.Encoding:
        return bpe.encoding([token.encode("latin-1") for token in self.tokens])

    def encode(self, text: str, special: bpe.Special = "refuse") -> list[int]:
        """Token ids. Raises UserError where "<|endoftext|>" stands in a text and nobody has said what is meant."""
        bpe.check_special(text, special)
        allowed = {bpe.END} if special == "token" else set()
        return self.encoding.encode(text, allowed_special=allowed, disallowed_special=())

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


def encode_documents(tokenizer: Tokenizer, text: str) -> np.ndarray:
    """Token ids (n,) uint16 or uint32 of documents; "<|endoftext|>" is one token, unless tokens are characters."""
    if isinstance(tokenizer, bpe.Separated):
        return tokenizer.encode_documents(text)
    return np.array(tokenizer.encode(text), np.uint32)
