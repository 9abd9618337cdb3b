"""The data set of a config, and whether model and training fit the data."""

from collections.abc import Iterable

from lib.config import DataConfig, RunConfig
from lib.data import Dataset
from lib.language import corpora
from lib.support.errors import UserError
from lib.tasks import load_equations, load_sentence
from lib.tokenizer import Tokenizer
from lib.training import distributed


def load_data(config: RunConfig) -> Dataset:
    """The data set of a config. Raises UserError if the config cannot be trained on it."""
    load = {"arithmetic": load_equations, "text": load_sentence, "corpus": corpora.load}[config.data.task]
    data = load(config.data)
    check_fit(config, data)
    return data


def check_all(configs: Iterable[RunConfig]) -> None:
    """Raises UserError if one of them cannot be trained on its data; each data set is loaded once."""
    loaded: dict[DataConfig, Dataset] = {}
    for config in configs:
        if config.data in loaded:
            check_fit(config, loaded[config.data])
        else:
            loaded[config.data] = load_data(config)


def check_fit(config: RunConfig, data: Dataset) -> None:
    """Raises UserError if model or training cannot work on this data, or not in so many processes."""
    model, train = config.model, config.train
    longest = max(split.width for split in data.splits.values())
    if longest > model.context_length:
        allowed = f"at least {longest}, the longest sequence of the data"
        raise UserError(f"model.context_length = {model.context_length}: must be {allowed}")
    learned = model.kind == "transformer" and model.positions == "learned"
    if data.scoring == "all" and learned and longest < model.context_length:
        allowed = f"{longest}, as data.window is: later positions would never be learned"
        raise UserError(f"model.context_length = {model.context_length}: must be {allowed}")
    if train.keep_answers and data.scoring != "last":
        raise UserError("train.keep_answers = true: must be false where an answer has more than one token")
    if train.prompt:
        check_prompt(config, data.tokenizer)
    if train.activation_checkpointing and (model.kind != "transformer" or data.scoring != "all"):
        allowed = "false unless model.kind = transformer and data.task = corpus"
        raise UserError(f"train.activation_checkpointing = true: must be {allowed}")
    if train.whole_logits and data.scoring != "all":
        raise UserError("train.whole_logits = true: must be false unless data.task = corpus")
    if config.optim.name == "muon" and model.kind == "lstm":
        raise UserError("optim.name = 'muon': must be another with model.kind = lstm, which has no transformer blocks")
    if train.precision == "float16" and config.optim.grokfast:
        raise UserError("train.precision = 'float16': must be another with optim.grokfast, whose mean it overflows")
    if train.batch_size % (train.accumulation * distributed.size()):
        allowed = f"divisible by {distributed.size()} processes times train.accumulation = {train.accumulation}"
        raise UserError(f"train.batch_size = {train.batch_size}: must be {allowed}")


def check_prompt(config: RunConfig, tokenizer: Tokenizer) -> None:
    prompt = config.train.prompt
    if config.data.task != "corpus":
        raise UserError(f"train.prompt = {prompt!r}: must be empty unless data.task = corpus")
    try:
        n_tokens = len(tokenizer.encode(prompt))
    except UserError as error:
        raise UserError(f"train.prompt = {prompt!r}: {error}") from None
    room = config.model.context_length - (tokenizer.bos is not None)
    if n_tokens > room:
        raise UserError(f"train.prompt = {prompt!r}: {n_tokens} tokens; must be at most {room}")
