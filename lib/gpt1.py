"""GPT-1's own vocabulary (Radford et al. 2018): byte-pair encoding over the characters of lower-case words.

A word ends in "</w>", which its last character carries from the start ("t</w>" is one symbol), and no merge crosses
words. Encoding is tiktoken's, which knows bytes only: "</w>" is written as the byte 0, and what a character takes is
joined before the first of GPT-1's merges. tiktoken joins neighbours whenever the two together are a token, GPT-1 only
the pair on its list. These come to the same if every token's own spelling is encoded as that token: the part of a word
that a token covers is joined, while no merge crosses its ends, as if it stood alone. All of GPT-1's tokens are such.
"""

import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import regex
import tiktoken

from lib.bpe import END, Separated, Special, check_special

STANDARD = {"—": "-", "–": "-", "―": "-", "…": "...", "´": "'", "‘": "'", "’": "'", "“": '"', "”": '"'}
PUNCTUATION = r"\p{P}$+<=>^`|~"
WORD_END, UNKNOWN = "\0", "\1"  # what stands for "</w>" and for any character outside the vocabulary
WORDS = regex.compile(rf"<unk>|{regex.escape(END)}|[{PUNCTUATION}]|[^\s{WORD_END}{PUNCTUATION}]+")


def words(text: str) -> list[str]:
    """The words of a text in lower case: cut at white space, each punctuation character by itself.

    So does BERT's BasicTokenizer, with which Hugging Face's openai-gpt replaces spaCy, by which GPT-1's text was cut:
    "don't" is three words, and the line break, for which GPT-1 has a token, is none. Unlike there accents stay, which
    GPT-1's vocabulary has, and dashes, dots and quotes become plain as GPT-1's text had them; it has no token for
    others. "<unk>" and "<|endoftext|>" are one word each.
    """
    for typographic, plain in STANDARD.items():
        text = text.replace(typographic, plain)  # far faster than str.translate where most characters are plain
    return [word.lower() for word in WORDS.findall(text)]


@dataclass(frozen=True)
class GPT1Tokenizer(Separated):
    """GPT-1's tokens by id, then "<|endoftext|>", which it did not have: what separates texts.

    The word "<unk>", which corpora have for rare words, is the token of that name, and so is each unknown character.

    >>> t = GPT1Tokenizer(("<unk>", "a", "b", "a</w>", "b</w>", "ab</w>"), ("a b</w>",))
    >>> t.encode("AB b <unk> <|endoftext|>", special="token")
    [5, 4, 0, 6]
    """

    tokens: tuple[str, ...] = field(repr=False)  # by id; among them "<unk>"
    merges: tuple[str, ...] = field(repr=False)  # "a b", the first one first
    begins: bool = True

    def __post_init__(self) -> None:
        for name in ("tokens", "merges"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # from JSON they come as lists

    def encode(self, text: str, special: Special = "refuse") -> list[int]:
        """Token ids. Raises UserError where "<|endoftext|>" stands in a text and nobody has said what is meant."""
        check_special(text, special)
        if special == "text":
            text = text.replace(END, "< | endoftext | >")  # its words, one by one
        return self.encode_documents(text).tolist()

    def encode_documents(self, text: str) -> np.ndarray:
        """Token ids (n,) uint16; "<|endoftext|>" is one wherever it stands."""
        spelled = WORD_END.join([*words(text), ""])
        known = self._outside.sub(UNKNOWN, spelled)
        return self._ids[self._encoding.encode_ordinary(known)]

    def decode(self, ids: list[int]) -> str:
        """The text of `ids` as far as it was kept: lower case, with one space after each word but the last."""
        return "".join(self._shown[i] for i in ids).removesuffix(" ")

    @cached_property
    def _alphabet(self) -> list[str]:
        """The characters that tiktoken gets: the vocabulary's, those of "<unk>" and "<|endoftext|>", and UNKNOWN."""
        symbols = {token.removesuffix("</w>") for token in self.tokens}
        return sorted({symbol for symbol in symbols if len(symbol) == 1} | set("<unk>" + END + UNKNOWN))

    @cached_property
    def _outside(self) -> re.Pattern[str]:
        return re.compile(f"[^{re.escape(WORD_END + ''.join(self._alphabet))}]")  # in re five times as fast as in regex

    @cached_property
    def _ranks(self) -> dict[bytes, int]:
        """tiktoken's tokens in the order in which they are joined: bytes, characters, last characters, merges.

        Last the two words that are tokens as they stand: tiktoken looks for a whole word before it joins anything.
        """
        characters = [character.encode() for character in self._alphabet]
        begun = [character[:n] for character in characters for n in range(2, len(character) + 1)]
        ended = [spelling(character + "</w>") for character in self._alphabet]
        joined = [spelling(merge.replace(" ", "")) for merge in self.merges]
        whole = [spelling(word + "</w>") for word in ("<unk>", END)]
        order = [*(bytes([byte]) for byte in range(256)), *begun, *ended, *joined, *whole]
        return {token: rank for rank, token in enumerate(dict.fromkeys(order))}

    @cached_property
    def _encoding(self) -> tiktoken.Encoding:
        pattern = f"[^{WORD_END}]*{WORD_END}"
        return tiktoken.Encoding("gpt1", pat_str=pattern, mergeable_ranks=self._ranks, special_tokens={})

    @cached_property
    def _ids(self) -> np.ndarray:
        """The id for each of tiktoken's ranks, (ranks,) uint16: "<unk>" if it has none."""
        ids = np.full(len(self._ranks), self.tokens.index("<unk>"), np.uint16)
        for index, token in enumerate(self.tokens):
            if token != "<unk>" and spelling(token) in self._ranks:
                ids[self._ranks[spelling(token)]] = index
        ids[self._ranks[spelling(END + "</w>")]] = self.eos
        return ids

    @cached_property
    def _shown(self) -> list[str]:
        """The text of each id; "<unk>", mostly a word or the end of one, has a space after it too."""
        shown = [token.removesuffix("</w>") + " " * token.endswith("</w>") for token in self.tokens]
        shown[self.tokens.index("<unk>")] = "<unk> "
        return [*shown, END + " "]


def spelling(token: str) -> bytes:
    """A token as tiktoken gets it."""
    return (token.removesuffix("</w>") + WORD_END * token.endswith("</w>")).encode()


def load(tokens: Path, merges: Path) -> GPT1Tokenizer:
    """GPT-1's tokenizer from its two files: the id of each token, and the merges in their order."""
    ids = json.loads(tokens.read_text(encoding="utf-8"))
    listed = merges.read_text(encoding="utf-8").split("\n")[1:-1]  # a line about the format; nothing after the last
    return GPT1Tokenizer(tuple(sorted(ids, key=ids.__getitem__)), tuple(listed))
