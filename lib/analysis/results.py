"""report/results.json: every number that the report and the README tell, by section."""

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from lib.experiments.catalogue import STORED
from lib.runs.stored import stored
from lib.support.errors import UserError
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
    """Put a notebook's numbers under `section` of results.json. Raises UserError instead if its schema forbids them."""
    check(section, json.loads(json.dumps(values)))  # as the file will hold them
    with sole_use(REPORT, wait=True):  # two notebooks may run at once
        write_json(RESULTS, dict(sorted((results() | {section: values}).items())))


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
