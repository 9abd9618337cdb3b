"""Text to token ids and back: a token per character, or a token per number.

Every tokenizer has `encode`, `decode`, `vocab_size`, and the ids `pad`, `bos` and `eos`, of which the last two may be
None.
"""

import re
from dataclasses import dataclass
from typing import Any

from lib.support.errors import UserError, shortened

Tokenizer = Any  # one of these, or of lib/language/tokenizers.py


@dataclass(frozen=True)
class CharacterTokenizer:
    """One token per character, after three special tokens.

    >>> t = CharacterTokenizer("+0123456789=")
    >>> t.encode("7+5=")
    [11, 3, 9, 14]
    """

    characters: str  # sorted, each once
    begins: bool = True  # whether sequences begin with <bos>; those of a corpus do not

    pad, BOS, eos = 0, 1, 2
    SPECIAL = ("<pad>", "<bos>", "<eos>")

    @classmethod
    def of(cls, text: str) -> "CharacterTokenizer":
        """The tokenizer whose vocabulary is the characters of `text`."""
        return cls("".join(sorted(set(text))))

    @property
    def bos(self) -> int | None:
        return self.BOS if self.begins else None

    @property
    def vocab_size(self) -> int:
        return len(self.SPECIAL) + len(self.characters)

    def encode(self, text: str) -> list[int]:
        """Token ids without special tokens. Raises UserError for a character outside the vocabulary."""
        for character in text:
            if character not in self.characters:
                raise UserError(
                    f"character {character!r} in {shortened(text)}: must be one of {' '.join(self.characters)!r}"
                )
        return [len(self.SPECIAL) + self.characters.index(c) for c in text]

    def decode(self, ids: list[int]) -> str:
        """The text of `ids`; special tokens are shown by name, so that nothing a model says is hidden."""
        return "".join([*self.SPECIAL, *self.characters][i] for i in ids)


@dataclass(frozen=True)
class NumberTokenizer:
    """One token per number 0 … p-1, then the operation (id p) and "=" (id p + 1); then, with `own_b`, one for each b.

    >>> NumberTokenizer(97, "/").encode("12/5=80")
    [12, 97, 5, 98, 80]
    """

    p: int
    operation: str
    own_b: bool = False

    bos = eos = None
    pad = 0  # all equations have the same number of tokens: nothing is ever padded

    @property
    def vocab_size(self) -> int:
        return self.p + 2 + self.own_b * self.p

    def encode(self, text: str) -> list[int]:
        """Token ids of an equation or its beginning; spaces do not count. Raises UserError for anything else."""
        symbols = {self.operation: self.p, "=": self.p + 1}
        ids = []
        for piece in re.findall(r"\d+|\S", text):
            if piece in symbols:
                ids.append(symbols[piece])
            elif piece.isascii() and piece.isdigit() and len(piece) < 10 and int(piece) < self.p:
                ids.append(int(piece) + (self.p + 2) * (self.own_b and ids[-1:] == [self.p]))
            else:
                allowed = f"a number from 0 to {self.p - 1}, {self.operation} or ="
                raise UserError(f"{shortened(piece)} in {shortened(text)}: must be {allowed}")
        return ids

    def decode(self, ids: list[int]) -> str:
        return "".join({self.p: self.operation, self.p + 1: "="}.get(i, str(i % (self.p + 2))) for i in ids)
