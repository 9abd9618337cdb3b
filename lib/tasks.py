"""The tasks of the homework: a sentence to memorise, and equations a o b = c modulo p with their splits."""

import numpy as np

from lib.config import DataConfig
from lib.data import Batch, Dataset, collate
from lib.tokenizer import CharacterTokenizer, NumberTokenizer, Tokenizer


def load_sentence(config: DataConfig) -> Dataset:
    """`config.text` between <bos> and <eos>, a token per character; there is only a train split.

    With `window` = w the rows are all w-token pieces of it, wherever they begin, each with the w tokens that follow.
    """
    tokenizer = CharacterTokenizer.of(config.text)
    ids = [tokenizer.BOS, *tokenizer.encode(config.text), tokenizer.eos]
    size = config.window + 1 if config.window else len(ids)
    sequences = [ids[start : start + size] for start in range(len(ids) - size + 1)]
    return Dataset(tokenizer, {"train": collate(sequences, [config.skip_loss] * len(sequences), tokenizer.pad)})


def equations(operation: str, p: int) -> np.ndarray:
    """All equations modulo p as rows (a, b, c), ordered by a, then b: shape (n, 3), int64.

    n = p² for + and -; for division b = 0 is left out and n = p (p - 1), with c the only number for which
    c·b ≡ a (mod p), so p must be prime.

    >>> equations("/", 5)[7]  # 1/4 = 4, because 4·4 = 16 ≡ 1
    array([1, 4, 4])
    """
    a, b = (grid.ravel() for grid in np.mgrid[0:p, 0:p])
    if operation == "/":
        a, b = a[b != 0], b[b != 0]
        inverse = np.array([0] + [pow(i, -1, p) for i in range(1, p)])
        c = a * inverse[b] % p
    else:
        c = {"+": a + b, "-": a - b}[operation] % p
    return np.stack([a, b, c], axis=1)


def split(config: DataConfig) -> dict[str, np.ndarray]:
    """Rows of `equations` in each split, shape (n_split, 3): one seeded permutation of all of them, cut in three.

    NumPy's legacy generator, because its stream is guaranteed never to change.
    """
    rows = equations(config.operation, config.p)
    rows = rows[rows[:, 0] >= config.skip_zero]
    rows = rows[np.random.RandomState(config.split_seed).permutation(len(rows))]
    cuts = np.cumsum(list(config.split_sizes().values()))[:-1]
    return dict(zip(config.split_sizes(), np.split(rows, cuts), strict=True))


def written(rows: np.ndarray, operation: str) -> list[str]:
    """Equations as text, e.g. "12/5=80"."""
    return [f"{a}{operation}{b}={c}" for a, b, c in rows.tolist()]


def load_equations(config: DataConfig) -> Dataset:
    """The splits as token ids, the loss on the answer alone.

    With a token per character the answer is its digits and then <eos>, and equations differ in length.
    """
    tokenizer: Tokenizer = NumberTokenizer(config.p, config.operation)
    if config.tokenizer == "character":
        tokenizer = CharacterTokenizer.of("0123456789=" + config.operation)
    texts = {name: written(rows, config.operation) for name, rows in split(config).items()}
    return Dataset(tokenizer, {name: encode_equations(tokenizer, equations) for name, equations in texts.items()})


def encode_equations(tokenizer: Tokenizer, equations: list[str]) -> Batch:
    """The Batch of equations such as "12/5=80"; what follows "=" is scored, and <eos> if there is one."""
    end = [] if tokenizer.eos is None else [tokenizer.eos]
    sequences = [tokenizer.encode(equation) + end for equation in equations]
    [equals] = tokenizer.encode("=")
    return collate(sequences, [ids.index(equals) for ids in sequences], tokenizer.pad)
