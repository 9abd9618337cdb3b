"""`optim.methods`: what it says, and what it must not say."""

from pathlib import Path

import pytest

from lib.config import RunConfig
from lib.methods import table
from lib.methods.make import CLASSES, make_methods
from lib.methods.weights import EmbeddingRate, NormCap
from lib.optim import Optimizer
from lib.runs.stored import train_all
from lib.support.errors import UserError
from lib.train import parser
from lib.training.datasets import load_data


def test_methods_act_in_the_order_of_the_table_whatever_the_order_in_the_text(tiny: RunConfig) -> None:
    from lib.model import Transformer

    for text in ("norm_cap=2,embedding_rate=4", " embedding_rate = 4 , norm_cap = 2.0"):
        config = tiny.override({"optim.methods": text})
        model = Transformer(config.model, 13)
        made = make_methods(config, model, Optimizer(model, config))
        assert [(type(method), method.amount) for method in made] == [(EmbeddingRate, 4), (NormCap, 2)]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"optim.methods": "row_clop=2"},
            "'row_clop=2': row_clop must be one of row_start, .*; did you mean row_clip?",
        ),
        ({"optim.methods": "row_clip"}, "'row_clip': row_clip = '': must be a finite number"),
        ({"optim.methods": "row_clip=two"}, "row_clip = 'two': must be a finite number"),
        ({"optim.methods": "row_clip=-1"}, "row_clip = -1: must be above 0"),
        ({"optim.methods": "row_clip=1, row_clip=2"}, "row_clip must be there once"),
        ({"optim.methods": "row_clip=1,"}, "a method must be one of row_start"),
        ({"optim.methods": "freeze=99"}, "freeze = 99: must be an accuracy above 0, at most 1"),
        ({"optim.methods": "newton_schulz=2.5", "optim.name": "muon"}, "newton_schulz = 2.5: must be a whole number"),
        ({"optim.methods": "newton_schulz=2"}, "newton_schulz needs optim.name = muon"),
        ({"optim.methods": "row_clip=2", "model.kind": "lstm"}, "row_clip needs model.kind = transformer"),
        ({"optim.methods": "freeze=0.99", "data.task": "text"}, "freeze needs data.task = arithmetic or corpus"),
        (
            {"optim.methods": "embedding_rate=2", "model.frozen_embeddings": True},
            "embedding_rate needs model.frozen_embeddings = False",
        ),
        ({"optim.methods": "row_start=2", "model.init_scale": 3}, "row_start needs model.init_scale = 1.0"),
        ({"model.temperature": 0}, "model.temperature = 0.0: must be above 0"),
    ],
    ids=lambda value: "" if isinstance(value, str) else " ".join(map(str, value.values())),
)
def test_what_cannot_work_is_one_line_before_anything_begins(
    tiny: RunConfig, tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    changes = changes | ({"model.context_length": 64} if "data.task" in changes else {})
    with pytest.raises(UserError, match=words.replace("?", r"\?")) as error:
        train_all({"x": [tiny, tiny.override(changes)]}, root=tmp_path)
    assert "\n" not in str(error.value) and not (tmp_path / "x").exists()


def test_methods_are_for_one_process(tiny: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lib.training.distributed.size", lambda: 2)
    with pytest.raises(UserError, match=r"optim\.methods = 'row_clip=2': must be empty where several processes"):
        load_data(tiny.override({"optim.methods": "row_clip=2"}))


def test_help_says_what_there_is() -> None:
    told = " ".join(parser().format_help().split())
    assert list(CLASSES) == list(table.KNOWN)
    for name, entry in table.KNOWN.items():
        assert f"{name}=x: {entry.about}" in told and CLASSES[name].__doc__
