"""Byte-pair encoding over bytes (Sennrich et al. 2016, arXiv 1508.07909), as in GPT-2: a vocabulary learned from text.

Text is cut into pieces that no merge crosses (GPT-2's pattern: a word with the space before it, digits, punctuation,
white space), and each piece into bytes. Learning counts neighbours within the pieces and joins the most frequent pair
into a new token, again and again. Encoding is tiktoken's, from the tokens that this finds.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Literal, get_args

import regex
import tiktoken
from tiktoken.load import data_gym_to_mergeable_bpe_ranks

from lib.support.errors import UserError

PIECES = regex.compile(r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
END = "<|endoftext|>"
BLOCK = 1 << 20  # characters read at a time
Special = Literal["refuse", "text", "token"]  # what END in a text is taken for: a mistake, characters, or the end

Pair = tuple[int, int]


def blocks(path: Path) -> Iterator[str]:
    """A text file in parts of about BLOCK characters, whose pieces together are the pieces of the whole text.

    The text is cut before a line break that does not follow white space. Raises UserError if the file is not UTF-8.
    """
    with open(path, encoding="utf-8", newline="") as file:
        rest = ""
        try:
            while read := file.read(BLOCK):
                new = max(0, len(rest) - 2)
                rest += read
                last = regex.search(r"(?r)\S\r?\n", rest, pos=new)  # searched for from the end
                cut = last.start() + 1 if last else 0
                yield rest[:cut]
                rest = rest[cut:]
        except UnicodeDecodeError as error:
            wrong = error.object[error.start]
            raise UserError(f"data.corpus = {str(path)!r}: must be a text in UTF-8; byte {wrong:#x} is not") from None
        yield rest


def count_pieces(texts: Iterable[str]) -> Counter[bytes]:
    """How often each piece occurs. END is cut out, and nothing is joined across END."""
    counts = Counter(piece for text in texts for document in text.split(END) for piece in PIECES.findall(document))
    return Counter({piece.encode(): n for piece, n in counts.items()})


def learn(pieces: Counter[bytes], vocab_size: int) -> list[bytes]:
    """The tokens of a vocabulary in the order of their ids: the 256 bytes, then one for each merge.

    Each merge joins the most frequent pair of neighbours; of several, the one whose two byte strings are greatest.
    Fewer than `vocab_size` if nothing is left to join.
    """
    tokens = [bytes([byte]) for byte in range(256)]
    words, counts = [list(piece) for piece in pieces], list(pieces.values())
    total: Counter[Pair] = Counter()
    where: defaultdict[Pair, set[int]] = defaultdict(set)  # the words in which a pair occurs, or did
    for index, word in enumerate(words):
        for pair in pairwise(word):
            total[pair] += counts[index]
            where[pair].add(index)
    order = [descending(token) for token in tokens]
    heap = [(-n, order[a], order[b], (a, b)) for (a, b), n in total.items()]
    heapq.heapify(heap)
    while heap and len(tokens) < vocab_size:
        negative, *_, pair = heapq.heappop(heap)
        if -negative != total[pair] or not total[pair]:
            continue  # its count has changed since, and it stands elsewhere in the heap with the new one
        new = len(tokens)
        tokens.append(tokens[pair[0]] + tokens[pair[1]])
        order.append(descending(tokens[new]))
        changed: Counter[Pair] = Counter()
        for index in where.pop(pair):
            before = words[index]
            after = joined(before, pair, new)
            if len(after) == len(before):
                continue
            for old in pairwise(before):
                changed[old] -= counts[index]
            for now in pairwise(after):
                changed[now] += counts[index]
                if new in now:
                    where[now].add(index)
            words[index] = after
        for other, difference in changed.items():
            if difference:
                total[other] += difference
                if total[other] > 0:
                    heapq.heappush(heap, (-total[other], order[other[0]], order[other[1]], other))
        del total[pair]
    return tokens


def descending(token: bytes) -> tuple[int, ...]:
    """A key under which the greatest byte string comes first; one that continues another comes before it."""
    return (*(-byte for byte in token), 1)


def joined(word: list[int], pair: Pair, new: int) -> list[int]:
    """The word with `new` for each occurrence of the pair, from the left."""
    first, second = pair
    result, place, last = [], 0, len(word) - 1
    while place <= last:
        if place < last and word[place] == first and word[place + 1] == second:
            result.append(new)
            place += 2
        else:
            result.append(word[place])
            place += 1
    return result


def encoding(tokens: Iterable[bytes]) -> tiktoken.Encoding:
    """tiktoken's encoder and decoder for a vocabulary; the end of a text comes after the others."""
    ranks = {token: rank for rank, token in enumerate(tokens)}
    ends = {END: len(ranks)}
    return tiktoken.Encoding("of its own", pat_str=PIECES.pattern, mergeable_ranks=ranks, special_tokens=ends)


class Separated:
    """Base of tokenizers with one id for END, after their own `tokens`: END begins and ends a document."""

    tokens: tuple[str, ...]
    begins: bool  # whether END stands between the documents of the training text, so that it can begin a sample

    def __post_init__(self) -> None:  # from JSON tuples come as lists
        self.__dict__.update({name: tuple(value) for name, value in vars(self).items() if isinstance(value, list)})

    @property
    def vocab_size(self) -> int:
        return len(self.tokens) + 1

    @property
    def eos(self) -> int:
        return len(self.tokens)

    pad = eos

    @property
    def bos(self) -> int | None:
        return self.eos if self.begins else None


def check_special(text: str, special: Special) -> None:
    """Raises UserError where END stands in a text and nobody has said what is meant."""
    if special not in get_args(Special):
        raise UserError(f"special = {special!r}: must be one of {', '.join(get_args(Special))}")
    if special == "refuse" and END in text:
        ways = "special = text for its characters, token for the end of a document"
        raise UserError(f"{END!r} in {text!r}: must not be there, unless you say what is meant: {ways}")


def gpt2(merges: Path, ids: Path) -> list[bytes]:
    """The tokens of GPT-2 in the order of their ids, from its files vocab.bpe and encoder.json."""
    ranks = data_gym_to_mergeable_bpe_ranks(str(merges), str(ids))
    return sorted(ranks, key=ranks.__getitem__)
