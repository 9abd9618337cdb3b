"""The tasks of the homework: a sentence to memorise, and equations a o b = c modulo p with their splits."""

import numpy as np

from lib.config import DataConfig
from lib.data import Batch, Dataset, collate
from lib.support.expressions import answers, holds
from lib.support.streams import stream
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
    """All equations a o b = c as rows (a, b, c), ordered by a, then b: shape (n, 3), int64.

    n = p² for + and -. For division c is the only number for which c·b ≡ a (mod p), so p must be prime; b = 0 is left
    out, and n = p (p - 1). An expression leaves out the pairs for which it divides by what has no inverse modulo p.

    >>> equations("/", 5)[7]  # 1/4 = 4, because 4·4 = 16 ≡ 1
    array([1, 4, 4])
    """
    a, b = (grid.ravel() for grid in np.mgrid[0:p, 0:p])
    c = answers(operation, p, a, b)
    return np.stack([a, b, c.filled(-1)], axis=1)[~np.ma.getmaskarray(c)]


def split(config: DataConfig) -> dict[str, np.ndarray]:
    """Rows of `equations` in each split, shape (n_split, 3), in the order of one seeded permutation of all of them.

    Train is the first `train_fraction` of the equations for which `train_where` holds. Of all others val is the first,
    `val_fraction` of all equations, and test the rest. Raises UserError if a split is empty.
    NumPy's legacy generator, because its stream is guaranteed never to change.
    """
    rows = equations(config.operation, config.p)
    rows = rows[rows[:, 0] >= config.skip_zero]
    rows = rows[np.random.RandomState(config.split_seed).permutation(len(rows))]
    admitted = holds(config.train_where, *rows.T)
    train = admitted & (admitted.cumsum() <= round(config.train_fraction * admitted.sum()))
    held_out, n_val = rows[~train], round(config.val_fraction * len(rows))
    splits = {"train": rows[train], "val": held_out[:n_val], "test": held_out[n_val:]}
    sizes = ", ".join(f"{name} {len(part):,}" for name, part in splits.items())
    field = "train_where" if config.train_where else "train_fraction"
    config.require(all(map(len, splits.values())), field, f"such that no split is empty: {sizes} equations")
    return splits


def trained_on(config: DataConfig) -> np.ndarray:
    """The train split as the network is shown it: the first `label_noise` of it with any of the wrong answers."""
    rows = split(config)["train"]
    n, random = round(config.label_noise * len(rows)), np.random.RandomState(stream(config.split_seed, "noise", 0))
    rows[:n, 2] = (rows[:n, 2] + random.randint(1, config.p, n)) % config.p
    return rows


def written(rows: np.ndarray, sign: str) -> list[str]:
    """Equations as text, e.g. "12/5=80"."""
    return [f"{a}{sign}{b}={c}" for a, b, c in rows.tolist()]


def load_equations(config: DataConfig) -> Dataset:
    """The splits as token ids, the loss on the answer alone.

    With a token per character the answer is its digits and then <eos>, and equations differ in length.
    """
    tokenizer: Tokenizer = NumberTokenizer(config.p, config.sign, config.own_b)
    if config.tokenizer == "character":
        tokenizer = CharacterTokenizer.of("0123456789=" + config.sign)
    splits = split(config) | {"train": trained_on(config)}
    texts = {name: written(rows, config.sign) for name, rows in splits.items()}
    return Dataset(tokenizer, {name: encode_equations(tokenizer, equations) for name, equations in texts.items()})


def encode_equations(tokenizer: Tokenizer, equations: list[str]) -> Batch:
    """The Batch of equations such as "12/5=80"; what follows "=" is scored, and <eos> if there is one."""
    end = [] if tokenizer.eos is None else [tokenizer.eos]
    sequences = [tokenizer.encode(equation) + end for equation in equations]
    [equals] = tokenizer.encode("=")
    return collate(sequences, [ids.index(equals) for ids in sequences], tokenizer.pad)
