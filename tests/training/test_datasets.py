"""What does not go together is one line before anything begins."""

from dataclasses import replace
from pathlib import Path

import pytest

from lib.config import DataConfig, RunConfig
from lib.language import bpe
from lib.runs.stored import train_all
from lib.support.errors import UserError
from lib.training import datasets
from lib.training.datasets import load_data


def test_sequences_longer_than_the_context_are_refused() -> None:
    with pytest.raises(UserError, match=r"model\.context_length = 3: must be at least 4"):
        load_data(RunConfig().override({"model.context_length": 3}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"data.corpus": "wikitext3"},
            ["data.corpus = 'wikitext3' (no such file)", "wikitext2, tinystories", "did you mean wikitext2?"],
        ),
        ({"data.corpus": "no/story.txt"}, ["data.corpus = 'no/story.txt'", "or a text file"]),
        ({"train.prompt": f"the cat{bpe.END}"}, ["train.prompt = 'the cat<|endoftext|>'", "must not be there"]),
        ({"train.prompt": "Zebra", "data.tokenizer": "character"}, ["train.prompt = 'Zebra'", "must be one of"]),
        ({"train.prompt": "Zebras jump high"}, ["train.prompt = 'Zebras jump high'", "tokens; must be at most 7"]),
        ({"train.prompt": "a dog " * 99}, [f"train.prompt = '{'a dog ' * 10}'… (594 characters): ", " tokens; must"]),
        ({"train.prompt": "1" * 99, "data": DataConfig()}, [f"train.prompt = '{'1' * 60}'… (99 characters): must be "]),
        ({"train.prompt": "12", "data": DataConfig()}, ["train.prompt = '12'", "empty unless data.task = corpus"]),
        (
            {"train.activation_checkpointing": True, "model.kind": "lstm"},
            ["train.activation_checkpointing = true", "must be false unless model.kind = transformer"],
        ),
        ({"model.context_length": 7}, ["model.context_length = 7", "at least 8"]),
        ({"model.context_length": 9}, ["model.context_length = 9", "must be 8, as data.window is"]),
        ({"data.corpus": "binary.txt"}, ["data.corpus = 'binary.txt': must be a text in UTF-8; byte 0x80"]),
    ],
    ids=lambda value: "" if isinstance(value, list) else " ".join(value),
)
def test_what_does_not_fit_a_corpus_is_one_line_before_anything_begins(
    story: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("binary.txt").write_bytes(bytes(range(256)))
    bad = replace(story, data=changes.pop("data", story.data)).override(changes)
    with pytest.raises(UserError) as error:
        train_all({"x": [story, bad, story.override({"seed": 1})]}, root=tmp_path)
    message = str(error.value)
    assert all(word in message for word in words) and "\n" not in message
    assert not (tmp_path / "x").exists()


def test_a_batch_is_divided_among_processes_and_parts(story: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lib.training.distributed.size", lambda: 3)
    with pytest.raises(UserError, match=r"train\.batch_size = 8: must be divisible by 3 processes times train\.accum"):
        load_data(story)


def test_many_splits_of_one_data_set_are_checked_by_one(tiny: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []
    monkeypatch.setattr(datasets, "load_data", lambda config: loaded.append(config) or load_data(config))
    seeds = [tiny.override({"seed": seed, "data.split_seed": seed}) for seed in range(5)]
    datasets.check_all([*seeds, tiny.override({"data.p": 13})])
    assert [config.data.p for config in loaded] == [11, 13]
    with pytest.raises(UserError, match=r"train\.prompt"):
        datasets.check_all([*seeds, seeds[4].override({"train.prompt": "a"})])
