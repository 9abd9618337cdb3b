"""Configs: checked when they are made, named by what they change, and the same from JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.config import DataConfig, ModelConfig, OptimConfig, RunConfig, TrainConfig
from lib.experiments.presets import POWER
from lib.support.errors import UserError


@given(
    st.builds(
        RunConfig,
        data=st.builds(
            DataConfig, operation=st.sampled_from(["+", "-", "/", "a*b"]), p=st.sampled_from([5, 7, 97, 113])
        ),
        model=st.builds(ModelConfig, d_model=st.sampled_from([8, 64]), n_heads=st.sampled_from([1, 4])),
        optim=st.builds(OptimConfig, lr=st.floats(1e-6, 1.0), beta2=st.floats(0, 0.999)),
        train=st.builds(TrainConfig, max_steps=st.integers(1, 10**6)),
        seed=st.integers(0, 2**31 - 1),
    )
)
def test_json_round_trip(config: RunConfig) -> None:
    again = RunConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config and again.id == config.id


def test_override_equals_construction() -> None:
    assert RunConfig().override({"optim.lr": "3e-3", "seed": "4", "model.bias": "false"}) == RunConfig(
        optim=OptimConfig(lr=3e-3), model=ModelConfig(bias=False), seed=4
    )


def test_id_depends_on_every_field_and_on_nothing_else() -> None:
    base = RunConfig()
    changes = {"data.p": 113, "model.norm": "rmsnorm", "optim.lr": 2e-3, "train.max_steps": 7, "seed": 1, **POWER}
    ids = {base.override({name: value}).id for name, value in changes.items()}
    assert len(ids | {base.id}) == len(changes) + 1
    assert base.override({"optim.lr": 0.001}).id == base.id


def test_id_survives_new_fields() -> None:
    """A field that a later version adds, at its default, must not rename the stored runs: only changes are hashed."""
    stored = RunConfig(seed=3).to_dict()
    del stored["model"]["init_scale"]
    assert RunConfig.from_dict(stored).id == RunConfig(seed=3).id


CORPUS = {"data.task": "corpus", "data.tokenizer": "bpe", "data.window": 8}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"optim.lrr": 1}, ["optim.lrr", "did you mean optim.lr?"]),
        ({"optim.lr": "fast"}, ["optim.lr", "'fast'", "a finite number"]),
        ({"optim.lr": float("nan")}, ["optim.lr", "a finite number"]),
        ({"optim.lr": -1}, ["optim.lr", "-1", "above 0"]),
        ({"optim.name": "adamv"}, ["optim.name", "'adamv'", "adam, adamw, sgd", "did you mean"]),
        ({"seed": 1.5}, ["seed", "1.5", "a whole number"]),
        ({"seed": -1}, ["seed", "-1", "from 0"]),
        ({"model.bias": "perhaps"}, ["model.bias", "'perhaps'", "true or false"]),
        ({"data.operation": "*"}, ["data.operation", "'*'", "+, -, /"]),
        ({"data.operation": "a^b"}, ["data.operation", "'a^b'", "+, -, /", "a ^ b is not allowed"]),
        ({"data.operation": "a" * 300}, ["data.operation", "300 characters"]),
        ({"data.operation": "s5(a*b)"}, ["data.p", "97", "120 for permutations"]),
        ({"data.operation": "s5(a+b)", "data.p": 120}, ["data.operation", "'s5(a+b)'", "a + b is not allowed"]),
        ({"data.train_where": "b < 2.5"}, ["data.train_where", "'b < 2.5'", "comparisons of a, b, c", "2.5 is not"]),
        ({"data.train_fraction": 1.5, "data.train_where": "b < 3"}, ["data.train_fraction", "1.5", "at most 1"]),
        ({"data.label_noise": 1}, ["data.label_noise", "1", "below 1"]),
        ({"data.own_b": True, "data.tokenizer": "character"}, ["data.own_b", "True", "data.tokenizer = number"]),
        ({"data.p": 96}, ["data.p", "96", "prime"]),
        ({"data.p": 2}, ["data.p", "2", "from 3"]),
        ({"data.train_fraction": 0}, ["data.train_fraction", "0", "no split empty"]),
        ({"data.train_fraction": 0.95}, ["data.train_fraction", "0.95", "less than 1 - data.val_fraction = 0.9"]),
        ({"data.val_fraction": 0}, ["data.val_fraction", "0", "no split empty"]),
        ({"model.d_model": 130}, ["model.d_model", "130", "divisible by model.n_heads = 4"]),
        ({"model.d_model": 12, "model.positions": "rope"}, ["model.d_model", "even", "rope"]),
        ({"model.dropout": 1}, ["model.dropout", "below 1"]),
        ({"train.stop_at": 2}, ["train.stop_at", "2", "from 0 to 1"]),
        ({"data.task": "text", "data.text": ""}, ["data.text", "at least one character"]),
        ({"data.task": "text", "data.window": 99}, ["data.window", "99", "the text's length"]),
        ({"data.task": "text", "data.tokenizer": "gpt2"}, ["data.tokenizer", "'gpt2'", "read by characters"]),
        (CORPUS | {"data.tokenizer": "number"}, ["data.tokenizer", "'number'", "character, bpe, gpt1 or gpt2"]),
        (CORPUS | {"data.tokenizer": "gpt3"}, ["data.tokenizer", "'gpt3'", "bpe, gpt1, gpt2"]),
        (CORPUS | {"data.window": 0}, ["data.window", "0", "at least 1 for a corpus"]),
        (CORPUS | {"data.vocab_size": 256}, ["data.vocab_size", "256", "from 257", "to 100000"]),
        (CORPUS | {"data.val_fraction": 1}, ["data.val_fraction", "1", "above 0 and below 1"]),
        (CORPUS | {"data.train_tokens": 8}, ["data.train_tokens", "8", "0, or more than data.window = 8"]),
        (CORPUS | {"data.eval_tokens": -9}, ["data.eval_tokens", "-9", "0, or more than data.window = 8"]),
        ({"data.tokenizer": "bpe"}, ["data.tokenizer", "'bpe'", "number or character for equations"]),
        ({"train.batch_size": 16, "train.accumulation": 3}, ["train.accumulation", "3", "a divisor of", "= 16"]),
        ({"train.accumulation": 0}, ["train.accumulation", "0", "at least 1"]),
        ({"train.precision": "flaot16"}, ["train.precision", "'flaot16'", "bfloat16, float16", "did you mean"]),
    ],
)
def test_bad_values_name_field_value_and_what_is_allowed(changes: dict[str, object], words: list[str]) -> None:
    with pytest.raises(UserError) as error:
        RunConfig().override(changes)
    message = str(error.value)
    assert all(word in message for word in words) and "\n" not in message


def test_unknown_fields_of_a_stored_config_are_refused() -> None:
    stored = RunConfig().to_dict()
    stored["model"]["n_layer"] = 3
    with pytest.raises(UserError, match=r"model\.n_layer.*did you mean model\.n_layers"):
        RunConfig.from_dict(stored)
    with pytest.raises(UserError, match="must be an object"):
        RunConfig.from_dict([1])
