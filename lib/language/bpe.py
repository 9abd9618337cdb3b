"""Byte-pair encoding over bytes (Sennrich et al. 2016, arXiv 1508.07909), as in GPT-2: a vocabulary learned from text.

Text is cut into pieces that no merge crosses (GPT-2's pattern: a word with the space before it, digits, punctuation,
white space), and each piece into bytes. Learning counts neighbours within the pieces and joins the most frequent pair
into a new token, again and again. Encoding is tiktoken's, from the tokens that this finds.
"""

import heapq
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Literal, TypeVar, get_args

import regex
import tiktoken
from tokenizers.models import BPE

from lib.support.errors import UserError, say, shortened
from lib.support.files import write_atomically, write_json

PIECES = regex.compile(r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
END = "<|endoftext|>"
BLOCK = 1 << 20  # characters read at a time
CUT = regex.compile(r"(?r)\S\s")  # searched for from the end
# a word with the white space before it, where pieces end; `re` is faster, but takes \x1c to \x1f for white space
SPACED = re.compile(r"[^\S\x1c-\x1f]*[\S\x1c-\x1f]+|\s+")
PLAIN = [*range(ord("!"), 127), *range(161, 173), *range(174, 256)]  # bytes that GPT-2's files show as Latin-1
BYTES = [chr(byte if byte in PLAIN else 256 + sum(b not in PLAIN for b in range(byte))) for byte in range(256)]
GAP = -1  # in place of a token
WORD = regex.compile(r"\S+")
PATIENCE = 5.0  # seconds without a word
Special = Literal[
    "refuse", "text", "token"
]  # what a special token in a text is taken for: a mistake, characters, or the end

Pair = tuple[int, int]
Part = TypeVar("Part")


def blocks(path: Path, field: str = "data.corpus") -> Iterator[str]:
    """A text file in parts of about BLOCK characters, cut by `regrouped`.

    Raises UserError, naming the config field that names the file, if it is not UTF-8.
    """
    with open(path, encoding="utf-8", newline="") as file:
        try:
            yield from regrouped(iter(lambda: file.read(BLOCK), ""))
        except UnicodeDecodeError as error:
            wrong = error.object[error.start]
            raise UserError(f"{field} = {str(path)!r}: must be a text in UTF-8; byte {wrong:#x} is not") from None


def regrouped(texts: Iterable[str]) -> Iterator[str]:
    """The text that `texts` are in a row, in parts whose pieces together are the pieces of the whole.

    The text is cut before white space that does not follow white space, where a piece ends in any case.
    """
    rest = ""
    for text in texts:
        new = max(0, len(rest) - 1)
        rest += text
        if last := CUT.search(rest, new):
            yield rest[: last.start() + 1]
            rest = rest[last.start() + 1 :]
    if rest:
        yield rest


def progress(parts: Iterable[Part], what: str, unit: str) -> Iterator[Part]:
    """`parts` as they come. After PATIENCE seconds a line on stderr counts them, and again in twice the time."""
    start, patience = time.monotonic(), PATIENCE
    for n, part in enumerate(parts, 1):
        yield part
        if time.monotonic() - start > patience:
            say(f"{what}: {n:,} {unit}")
            patience *= 2


def split(text: str, specials: Iterable[str]) -> list[str]:
    """The documents of a text, with the special tokens between them at the odd places; the longest are found first."""
    longest_first = map(regex.escape, sorted(specials, key=len, reverse=True))
    return regex.split(f"({'|'.join(longest_first)})", text)


def count_pieces(texts: Iterable[str], specials: Iterable[str] = (END,)) -> Counter[bytes]:
    """How often each piece occurs. Special tokens are cut out, and nothing is joined across one."""
    documents = (document for text in texts for document in split(text, specials)[::2])
    words = Counter(word for document in documents for word in SPACED.findall(document))
    counts: Counter[bytes] = Counter()
    for word, n in words.items():
        for piece in PIECES.findall(word):
            counts[piece.encode()] += n
    return counts


def learn(pieces: Counter[bytes], vocab_size: int) -> list[bytes]:
    """The tokens of a vocabulary in the order of their ids: the 256 bytes, then one for each merge.

    Each merge joins the most frequent pair of neighbours; of several, the one whose two byte strings are greatest.
    Fewer than `vocab_size` if nothing is left to join. The time grows as n log n with n bytes, in whatever pieces.
    """
    tokens = [bytes([byte]) for byte in range(256)]
    order = [descending(token) for token in tokens]
    # all pieces in one row, with gaps between them; a token stands at its first byte and at its last
    row, weight = [GAP], [0]
    for piece, n in pieces.items():
        row += [*piece, GAP]
        weight += [n] * (len(piece) + 1)
    total: defaultdict[Pair, int] = defaultdict(int)  # Counter is slower
    where: defaultdict[Pair, list[int]] = defaultdict(list)  # places where a pair begins, or began
    for place, pair in enumerate(pairwise(row)):
        if GAP not in pair:
            total[pair] += weight[place]
            where[pair].append(place)
    heap = [(-n, order[a], order[b], (a, b)) for (a, b), n in total.items()]
    heapq.heapify(heap)
    for new in progress(range(256, vocab_size), "learning byte pairs", f"of {vocab_size - 256:,} joined"):
        while heap and -heap[0][0] != total[heap[0][-1]]:
            heapq.heappop(heap)  # its count has changed since, and it stands elsewhere in the heap with the new one
        if not heap:
            break
        pair = first, second = heapq.heappop(heap)[-1]
        tokens.append(tokens[first] + tokens[second])
        order.append(descending(tokens[new]))
        half, whole = len(tokens[first]), len(tokens[new])
        change: defaultdict[Pair, int] = defaultdict(int)
        for place in where.pop(pair):  # from the left
            if row[place] != first or row[place + half] != second:
                continue
            before, after, n = row[place - 1], row[place + whole], weight[place]
            if before != GAP:
                change[before, first] -= n
                change[before, new] += n
                where[before, new].append(place - len(tokens[before]))
            if after != GAP:
                change[second, after] -= n
                change[new, after] += n
                where[new, after].append(place)
            row[place + half] = GAP
            row[place] = row[place + whole - 1] = new
        total[pair] = change[pair] = 0
        for (a, b), n in change.items():
            total[a, b] += n
            if total[a, b]:
                heapq.heappush(heap, (-total[a, b], order[a], order[b], (a, b)))
            else:
                where.pop((a, b), None)
    return tokens


def descending(token: bytes) -> str:
    """A key under which the greatest byte string comes first; one that continues another comes before it."""
    return token.translate(bytes(range(255, -1, -1))).decode("latin-1") + chr(256)


def encoding(tokens: Iterable[bytes], specials: Iterable[str] = (END,)) -> tiktoken.Encoding:
    """tiktoken's encoder and decoder for a vocabulary; special tokens come after the others."""
    ranks = {token: rank for rank, token in enumerate(tokens)}
    after = {special: rank for rank, special in enumerate(specials, len(ranks))}
    return tiktoken.Encoding("of its own", pat_str=PIECES.pattern, mergeable_ranks=ranks, special_tokens=after)


class Separated:
    """Base of tokenizers whose special tokens follow their own `tokens`; the first one begins and ends a document."""

    tokens: tuple[str, ...]
    specials: tuple[str, ...] = (END,)
    least = 1  # how many there are
    begins: bool  # whether `eos` stands between the documents of the training text, so that it can begin a sample

    def __post_init__(self) -> None:  # from JSON tuples come as lists
        self.__dict__.update({name: tuple(value) for name, value in vars(self).items() if isinstance(value, list)})
        if not len(self.specials) == len({*filter(WORD.fullmatch, self.specials)}) >= self.least:
            allowed = "one or more different texts without white space"
            raise UserError(f"specials = {list(self.specials)}: must be {allowed}")

    @property
    def vocab_size(self) -> int:
        return len(self.tokens) + len(self.specials)

    @property
    def eos(self) -> int | None:
        return len(self.tokens) if self.specials else None

    pad = eos

    @property
    def bos(self) -> int | None:
        return self.eos if self.begins else None

    def encode_stream(self, texts: Iterable[str]) -> Iterator[int]:
        """Token ids of the text that `texts` are in a row, as they come; special tokens are tokens."""
        for part in regrouped(texts):
            yield from self.encode_documents(part).tolist()


def check_special(text: str, special: Special, specials: Iterable[str] = (END,)) -> None:
    """Raises UserError where a special token stands in a text and nobody has said what is meant."""
    if special not in get_args(Special):
        raise UserError(f"special = {special!r}: must be one of {', '.join(get_args(Special))}")
    if special == "refuse" and (found := split(text, specials)[1:2]):
        ways = "special = text for its characters, token for the end of a document"
        raise UserError(f"{found[0]!r} in {shortened(text)}: must not be there, unless you say what is meant: {ways}")


def merges(tokens: list[bytes]) -> list[tuple[bytes, bytes]]:
    """The two parts that each token of several bytes was joined from, in the order of the ids."""
    ranks, pairs = {token: rank for rank, token in enumerate(tokens)}, []
    for token in tokens[256:]:
        parts = [bytes([byte]) for byte in token]
        while len(parts) > 2:
            joined = [left + right for left, right in pairwise(parts)]
            first = min(range(len(joined)), key=lambda i: ranks.get(joined[i], len(ranks)))
            parts[first : first + 2] = [joined[first]]
        pairs.append((parts[0], parts[1]))
    return pairs


def save(folder: Path, tokens: list[bytes], specials: Iterable[str]) -> None:
    """Writes vocab.json and merges.txt, the format of GPT-2 and of Hugging Face."""
    names = ["".join(BYTES[byte] for byte in token) for token in tokens]
    if taken := set(names) & set(specials):
        raise UserError(f"specials = {list(specials)}: must be written otherwise than the token {min(taken)!r}")
    lines = [" ".join("".join(BYTES[byte] for byte in part) for part in pair) for pair in merges(tokens)]
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "vocab.json", {name: i for i, name in enumerate([*names, *specials])})
    write_atomically(folder / "merges.txt", "\n".join(["#version: 0.2", *lines, ""]))


def load(ids: Path, merged: Path) -> tuple[list[bytes], list[str]]:
    """The tokens and the special tokens of two files such as GPT-2's. Raises UserError if the files do not fit."""
    try:
        vocabulary, pairs = BPE.read_file(str(ids), str(merged))
        names = sorted(vocabulary, key=vocabulary.__getitem__)
        tokens = [bytes(map(BYTES.index, name)) for name in names[: 256 + len(pairs)]]
        known, others = {*names[: len(tokens)]}, names[len(tokens) :]
        if sorted(names[:256]) != sorted(BYTES) or names[256 : len(tokens)] != list(map("".join, pairs)):
            raise ValueError("ids 0 to 255 must be the bytes, then must come the merges in their order")
        if any(name[:i] in known and name[i:] in known for name in others[:1] for i in range(1, len(name))):
            raise ValueError(f"{others[0]!r} is two tokens joined, and not among the merges")
        return tokens, others
    except Exception as error:  # `tokenizers` raises no other
        raise UserError(f"{ids} and {merged.name}: must be the files of one vocabulary ({error})") from None


def gpt2(merges: Path, ids: Path) -> list[bytes]:
    """The tokens of GPT-2 in the order of their ids, from its files vocab.bpe and encoder.json."""
    return load(ids, merges)[0]
