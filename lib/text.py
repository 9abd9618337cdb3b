"""A text to memorise, as one sequence or as all of its windows."""

from lib.config import DataConfig
from lib.data import Dataset, collate
from lib.tokenizer import CharacterTokenizer


def load(config: DataConfig) -> Dataset:
    """`config.text` between <bos> and <eos>, a token per character; there is only a train split.

    With `window` = w the rows are all w-token pieces of it, wherever they begin, each with the w tokens that follow.
    """
    tokenizer = CharacterTokenizer.of(config.text)
    ids = [tokenizer.bos, *tokenizer.encode(config.text), tokenizer.eos]
    size = config.window + 1 if config.window else len(ids)
    sequences = [ids[start : start + size] for start in range(len(ids) - size + 1)]
    return Dataset(tokenizer, {"train": collate(sequences, [config.skip_loss] * len(sequences), tokenizer.pad)})
