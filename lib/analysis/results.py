"""report/results.json: every number that the report and the README tell, by section."""

import json
import math
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from lib.experiments.catalogue import STORED
from lib.runs.stored import stored
from lib.support.errors import UserError, shortened
from lib.support.files import ROOT, sole_use, write_atomically, write_json
from lib.training.folder import read_json

REPORT = ROOT / "report"
RESULTS = REPORT / "results.json"
SCHEMA: dict[str, Any] = json.loads((REPORT / "results.schema.json").read_text(encoding="utf-8"))
SECTIONS = SCHEMA["required"]  # those that notebooks record; "experiments" is recorded by `python -m lib.report`


def results() -> dict[str, Any]:
    """The sections so far. Raises UserError if the file is damaged."""
    return read_json(RESULTS, remedy="delete it and execute the notebooks") if RESULTS.exists() else {}


def record(section: str, values: Any) -> None:
    """Put a notebook's numbers under `section` of results.json.

    Raises UserError instead if a number is not finite, or if the schema forbids a value.
    """
    values = plain(values, f"{RESULTS.name} / {section}")
    check(section, values)
    with sole_use(REPORT, wait=True):  # two notebooks may run at once
        write_json(RESULTS, dict(sorted((results() | {section: values}).items())))


def plain(value: Any, place: str) -> Any:
    """A value as JSON holds it: lists for tuples and arrays, texts for keys, Python's numbers for NumPy's and torch's.

    Raises UserError, naming the place, for what JSON does not have; such are NaN and infinity.
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {json_key(key, place): plain(inner, f"{place} / {key}") for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner, f"{place} / {index}") for index, inner in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{place} = {value}: must be a finite number, or None for what was not reached")
    if value is not None and not isinstance(value, str | int | float):
        raise UserError(f"{place} = {shortened(str(value))}: must be a number, a text, None, or a list or dict of such")
    return value


def json_key(key: Any, place: str) -> str:
    """A key as JSON writes it, such as "0" for 0."""
    key = plain(key, f"{place} / key")
    if isinstance(key, list):
        raise UserError(f"{place} / key = {shortened(str(key))}: must be a number or a text")
    return next(iter(json.loads(json.dumps({key: None}))))


def check(section: str, values: Any) -> None:
    """Raises UserError if results.schema.json forbids the values: where, the value, and what is allowed."""
    error = best_match(Draft202012Validator(SCHEMA | {"required": [section]}).iter_errors({section: values}))
    if error:
        place = " / ".join(map(str, (RESULTS.name, *error.path, *["key"] * ("propertyNames" in error.schema_path))))
        value, fault = json.dumps(error.instance, ensure_ascii=False), error.message.removeprefix(repr(error.instance))
        allowed = list(error.schema.get("properties", ())) or {error.validator: error.validator_value}
        raise UserError(f"{place} = {value:.60}{'…' * (len(value) > 60)}: {fault.strip()}; allowed: {allowed}")


def write_lines(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, "\n".join(lines) + "\n")


def costs() -> list[dict[str, Any]]:
    """What each experiment is made of: runs, the seeds among them, optimiser steps, and minutes of training steps."""
    told = []
    for name, make in STORED.items():
        runs = [stored(name, config) for config in make()]
        steps, seconds = (sum(run.summary[total] for run in runs) for total in ("steps", "seconds"))
        row = {"name": name, "runs": len(runs), "seeds": len({run.config.seed for run in runs})}
        told.append(row | {"steps": steps, "minutes": seconds / 60})
    return told
