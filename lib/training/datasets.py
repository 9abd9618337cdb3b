"""The data set of a config, and whether model and training fit the data."""

from collections.abc import Iterable
from dataclasses import replace

from lib.config import DataConfig, RunConfig
from lib.data import Dataset
from lib.language import corpora
from lib.methods import table
from lib.support.errors import UserError, shortened
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
    """Raises UserError if one of them cannot be trained on its data; each data set is loaded once, in one split."""
    loaded: dict[DataConfig, Dataset] = {}
    for config in configs:
        one_split = replace(config.data, split_seed=0)  # what fits one split fits all: a thousand seeds wait for none
        if one_split not in loaded:
            loaded[one_split] = load_data(config)
        check_fit(config, loaded[one_split])


def check_fit(config: RunConfig, data: Dataset) -> None:
    """Raises UserError if model or training cannot work on this data, or not in so many processes."""
    model, train, scoring, methods = config.model, config.train, data.scoring, table.check(config)
    longest, room = max(split.width for split in data.splits.values()), model.context_length
    learned = model.kind == "transformer" and model.positions == "learned"
    all_used = scoring != "all" or not learned or longest == room
    blocks = model.kind == "transformer" and scoring == "all"
    whole = f"divisible by {distributed.size()} processes times train.accumulation = {train.accumulation}"
    for name, fits, allowed in (
        ("model.context_length", longest <= room, f"at least {longest}, the longest sequence of the data"),
        ("model.context_length", all_used, f"{longest}, as data.window is: later positions would never be learned"),
        ("train.keep_answers", scoring == "last", "false where an answer has more than one token"),
        ("train.activation_checkpointing", blocks, "false unless model.kind = transformer and data.task = corpus"),
        ("train.prompt", scoring == "all" or not train.prompt, "empty unless data.task = corpus"),
        ("train.whole_logits", scoring == "all", "false unless data.task = corpus"),
        ("optim.name", model.kind != "lstm" or config.optim.name != "muon", "another than muon with model.kind = lstm"),
        ("optim.methods", not methods or distributed.size() == 1, "empty where several processes train one run"),
        ("train.batch_size", train.batch_size % (train.accumulation * distributed.size()) == 0, whole),
    ):
        value = config.flat()[name]
        if value is not False and not fits:
            raise UserError(f"{name} = {'true' if value is True else shortened(value)}: must be {allowed}")
    if train.prompt:
        check_prompt(config, data.tokenizer)


def check_prompt(config: RunConfig, tokenizer: Tokenizer) -> None:
    prompt = config.train.prompt
    shown = f"train.prompt = {shortened(prompt)}"
    try:
        n_tokens = len(tokenizer.encode(prompt))
    except UserError as error:
        raise UserError(f"{shown}: {error}") from None
    room = config.model.context_length - (tokenizer.bos is not None)
    if n_tokens > room:
        raise UserError(f"{shown}: {n_tokens} tokens; must be at most {room}")
