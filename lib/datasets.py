"""The data set of a config, and whether a config's parts go together."""

from lib import arithmetic, corpora, distributed, text
from lib.config import RunConfig
from lib.data import Dataset
from lib.fields import UserError


def load_data(config: RunConfig) -> Dataset:
    """The data set of a config. Raises UserError if the rest of the config does not go with it."""
    data = {"arithmetic": arithmetic, "text": text, "corpus": corpora}[config.data.task].load(config.data)
    check(config, data)
    return data


def check(config: RunConfig, data: Dataset) -> None:
    """Raises UserError if model or training cannot work on this data, or not in so many processes."""
    model, train = config.model, config.train
    if data.longest > model.context_length:
        allowed = f"at least {data.longest}, the longest sequence of the data"
        raise UserError(f"model.context_length = {model.context_length}: must be {allowed}")
    if train.keep_answers and data.scoring != "last":
        raise UserError("train.keep_answers = true: must be false where an answer has more than one token")
    if train.prompt:
        if config.data.task != "corpus":
            raise UserError(f"train.prompt = {train.prompt!r}: must be empty unless data.task = corpus")
        data.tokenizer.encode(train.prompt)  # complains of what it cannot encode
    if train.activation_checkpointing and model.kind != "transformer":
        raise UserError("train.activation_checkpointing = true: must be false unless model.kind = transformer")
    if train.batch_size % (train.accumulation * distributed.size()):
        allowed = f"divisible by {distributed.size()} processes times train.accumulation = {train.accumulation}"
        raise UserError(f"train.batch_size = {train.batch_size}: must be {allowed}")
