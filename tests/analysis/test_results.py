"""results.json and its schema: what is recorded must be as the schema says."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jsonschema import Draft202012Validator

from lib.analysis import results
from lib.support.errors import UserError

RECORDED = results.results()
CHANGES: dict[str, tuple[str, Callable[[Any], Any], str]] = {  # section, change, what the message begins with
    "a missing key": (
        "ablation",
        lambda told: told["networks"]["one layer"]["baseline"]["baseline"].pop("n"),
        r"ablation / networks / one layer / baseline / baseline = {.*…: 'n' is a required property; allowed: \['t_",
    ),
    "no baseline": (
        "ablation",
        lambda told: told["networks"]["two layers"].pop("baseline"),
        "ablation / networks / two layers = {.*…: 'baseline' is a required property; ",
    ),
    "an unknown key": (
        "inside",
        lambda told: told["marks"]["0"].update(T_end=1),
        r"inside / marks / 0 = {.*}: .*'T_end' was unexpected.*; allowed: \['T_fit', 'T_grok'\]",
    ),
    "an empty key": (
        "ablation",
        lambda told: told["networks"]["one layer"].update({"": {}}),
        'ablation / networks / one layer / key = "": ',
    ),
    "an empty key among fixed ones": ("sanity", lambda told: told.update({"": 0}), "sanity = {.*: .*'' was unexpected"),
    "a wrong type": (
        "add_sub",
        lambda told: told["cells"]["+ mod 97, 1 layer"].update(done="three"),
        r"""add_sub / cells / \+ mod 97, 1 layer / done = "three": .*; allowed: {'type': 'integer'}""",
    ),
    "a null": (
        "tinystories",
        lambda told: told["cells"]["baseline"]["val_loss"].__setitem__(0, None),
        "tinystories / cells / baseline / val_loss / 0 = null: is not of type 'number'",
    ),
    "an interval of two": (
        "inside",
        lambda told: told["tasks"]["division mod 97"]["t_grok"].pop(),
        "inside / tasks / division mod 97 / t_grok = .* is too short; allowed: {'minItems': 3}",
    ),
    "a name for a number": (
        "lstm_vs_gpt",
        lambda told: told["cells"].update(first=told["cells"]["1"]),
        "lstm_vs_gpt / cells = {.*'first' does not match",
    ),
}


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of results.json that `record` writes to."""
    path = tmp_path / results.RESULTS.name
    path.write_bytes(results.RESULTS.read_bytes())
    monkeypatch.setattr(results, "REPORT", tmp_path)
    monkeypatch.setattr(results, "RESULTS", path)
    return path


def parts(schema: Any) -> list[dict[str, Any]]:
    """A schema and all schemas in it."""
    inner = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    return [schema] * isinstance(schema, dict) + [part for value in inner for part in parts(value)]


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(results.SCHEMA)
    names = {part["$ref"].removeprefix("#/$defs/") for part in parts(results.SCHEMA) if "$ref" in part}
    assert names == set(results.SCHEMA["$defs"]), "a reference without a definition, or the reverse"
    for named in (*results.SCHEMA["properties"].values(), *results.SCHEMA["$defs"].values()):
        assert named["description"].endswith(".")


def test_no_object_of_the_schema_allows_an_empty_key() -> None:
    objects = [part for part in parts(results.SCHEMA) if part.get("type") == "object"]
    assert len(objects) > 20
    for part in objects:
        assert part["additionalProperties"] is False or part["propertyNames"] == {"minLength": 1}, part


def test_the_committed_results_are_as_the_schema_says() -> None:
    Draft202012Validator(results.SCHEMA).validate(RECORDED)
    assert set(RECORDED) == {*results.SECTIONS, "experiments"} == set(results.SCHEMA["properties"])


@pytest.mark.parametrize("section", RECORDED)
def test_what_is_recorded_again_gives_the_same_bytes(section: str, kept: Path) -> None:
    before = kept.read_bytes()
    results.record(section, RECORDED[section])
    assert kept.read_bytes() == before


def test_tuples_and_numbers_as_keys_are_recorded_as_json_has_them(kept: Path) -> None:
    told = RECORDED["inside"] | {"ratio": (1.0, 0.9, 1.1), "keys": {0: [2, 3]}}
    results.record("inside", told)
    assert json.loads(kept.read_text())["inside"] == told | {"ratio": [1.0, 0.9, 1.1], "keys": {"0": [2, 3]}}


@pytest.mark.parametrize(
    ("value", "where", "shown"),
    [
        (math.nan, "", "nan"),
        ({"a": [1, {"b": (0.5, -math.inf)}]}, " / a / 1 / b / 1", "-inf"),
        (np.float64("inf"), "", "inf"),
        ({0: np.float32("nan")}, " / 0", "nan"),
        (np.array([[1.0, 2.0], [3.0, np.nan]]), " / 1 / 1", "nan"),
        ([torch.tensor(1), torch.tensor(math.inf)], " / 1", "inf"),
        ({"x": {"y": torch.tensor([0.0, math.nan], dtype=torch.bfloat16)}}, " / x / y / 1", "nan"),
        ({math.nan: 1}, " / key", "nan"),
        ({"x": {1, 2}}, " / x", "'{1, 2}'"),
        ({"x": 1j}, " / x", "'1j'"),
        ({(1, 2): 0}, " / key", "'[1, 2]'"),
    ],
)
def test_what_json_does_not_have_is_refused_by_its_place(kept: Path, value: object, where: str, shown: str) -> None:
    before = kept.read_bytes()
    with pytest.raises(UserError) as error:
        results.record("inside", RECORDED["inside"] | {"ratio": value})
    assert str(error.value).startswith(f"results.json / inside / ratio{where} = {shown}: must be ")
    assert kept.read_bytes() == before


def test_numbers_of_numpy_and_torch_are_numbers(kept: Path) -> None:
    ratio = [np.float64(1.5), np.float32(0.5), torch.tensor(2.5)]
    keys = {np.int64(0): np.array([2, 3]), "1": torch.tensor([4, 5])}
    results.record("inside", RECORDED["inside"] | {"ratio": ratio, "keys": keys})
    told = {"ratio": [1.5, 0.5, 2.5], "keys": {"0": [2, 3], "1": [4, 5]}}
    assert json.loads(kept.read_text())["inside"] == RECORDED["inside"] | told


@pytest.mark.parametrize("name", CHANGES)
def test_what_the_schema_forbids_is_not_recorded(name: str, kept: Path) -> None:
    section, change, message = CHANGES[name]
    told, before = json.loads(json.dumps(RECORDED[section])), kept.read_bytes()
    change(told)
    with pytest.raises(UserError, match=rf"^results\.json / {message}") as caught:
        results.record(section, told)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert kept.read_bytes() == before


@pytest.mark.parametrize("text", ["<<<<<<< HEAD", "", "[]"])
def test_a_damaged_file_is_named(text: str, kept: Path) -> None:
    kept.write_text(text)
    for use in (results.results, lambda: results.record("inside", RECORDED["inside"])):
        with pytest.raises(UserError, match=r"results\.json: damaged \(.*; restore it"):
            use()
    assert kept.read_text() == text


@pytest.mark.parametrize("section", ["", "sanity_check"])
def test_an_unknown_section_is_refused(section: str, kept: Path) -> None:
    before = kept.read_bytes()
    with pytest.raises(UserError, match=rf"^results\.json = .*'{section}' was unexpected.*allowed: \['ablation', "):
        results.record(section, {})
    assert kept.read_bytes() == before
