"""GPT-1's vocabulary (Radford et al. 2018): byte-pair encoding over the characters of lower-case words with "</w>"."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import regex
from tokenizers.models import BPE

from lib.language.bpe import END, Separated, Special, check_special
from lib.support.files import write_atomically, write_json

STANDARD = str.maketrans("—–―´‘’“”", "---'''" + '""') | {ord("…"): "..."}
WORDS = regex.compile(rf"<unk>|{regex.escape(END)}|[\p{{P}}$+<=>^`|~]|[^\s\0\p{{P}}$+<=>^`|~]+")


def words(text: str) -> list[str]:
    """Lower-case words, cut as in BERT's BasicTokenizer; accents stay, and dashes, dots and quotes become plain."""
    return [word.lower() for word in WORDS.findall(text.translate(STANDARD))]


@dataclass(frozen=True)
class GPT1Tokenizer(Separated):
    """GPT-1's tokens by id, then "<|endoftext|>"; the word "<unk>" and each unknown character are the token "<unk>".

    >>> t = GPT1Tokenizer(("<unk>", "a", "b", "a</w>", "b</w>", "ab</w>"), ("a b</w>",))
    >>> t.encode("AB b <unk> <|endoftext|>", special="token")
    [5, 4, 0, 6]
    """

    tokens: tuple[str, ...] = field(repr=False)  # by id; among them "<unk>"
    merges: tuple[str, ...] = field(repr=False)  # "a b", the first one first
    begins: bool = True
    specials: tuple[str, ...] = (END,)

    least = 0  # GPT-1 itself has none

    def save(self, folder: str | Path) -> None:
        """Writes vocab.json and merges.txt, which Hugging Face reads (and drops accents, and knows fewer dashes)."""
        folder = Path(folder)
        write_json(folder / "vocab.json", {token: i for i, token in enumerate([*self.tokens, *self.specials])})
        write_atomically(folder / "merges.txt", "\n".join(["#version: 0.2", *self.merges, ""]))

    @cached_property
    def _bpe(self) -> BPE:
        ids = {token: index for index, token in enumerate(self.tokens)}
        pairs = [(left, right) for left, right in (merge.split(" ") for merge in self.merges)]
        return BPE(ids, pairs, unk_token="<unk>", end_of_word_suffix="</w>")

    def encode(self, text: str, special: Special = "refuse") -> list[int]:
        """Token ids. Raises UserError where "<|endoftext|>" stands in a text and nobody has said what is meant."""
        check_special(text, special)
        return self.encode_documents(text.replace(END, "< | endoftext | >") if special == "text" else text).tolist()

    def encode_documents(self, text: str) -> np.ndarray:
        """Token ids (n,) uint16; "<|endoftext|>" is one wherever it stands."""
        cut = words(regex.sub(r"\p{Cs}", "\uffff", text))  # a lone surrogate is unknown, and an error in `tokenizers`
        ids = {word: [token.id for token in self._bpe.tokenize(word)] for word in set(cut)}
        ids |= {"<unk>": [self.tokens.index("<unk>")]} | {special: [self.eos] for special in self.specials}
        return np.array([i for word in cut for i in ids[word]], np.uint16)

    def decode(self, ids: list[int]) -> str:
        """The text of `ids` as far as it was kept: lower case, with one space after each word but the last."""
        whole = {self.tokens.index("<unk>"): "<unk> ", self.eos: END + " "}
        return "".join(whole.get(i) or self.tokens[i].replace("</w>", " ") for i in ids).removesuffix(" ")


def load(tokens: Path, merges: Path) -> GPT1Tokenizer:
    """GPT-1's tokenizer from its two files, or those that `save` wrote: the ids, and the merges in their order."""
    ids, pairs = BPE.read_file(str(tokens), str(merges))
    if ids.get(END) == len(ids) - 1:
        del ids[END]
    return GPT1Tokenizer(tuple(sorted(ids, key=ids.__getitem__)), tuple(map(" ".join, pairs)))
