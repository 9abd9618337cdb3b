"""report/results.json: every number that the report and the README tell, by section."""

import json
from pathlib import Path
from typing import Any

from lib.experiments.catalogue import STORED
from lib.runs.stored import stored
from lib.support.files import ROOT, sole_use, write_atomically, write_json

REPORT = ROOT / "report"
RESULTS = REPORT / "results.json"
# what the report and the README's table tell
SECTIONS = ("ablation", "add_sub", "data", "gpt2", "grokking", "inside", "lstm_vs_gpt", "sanity", "tinystories")


def results() -> dict[str, Any]:
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}


def record(section: str, values: Any) -> None:
    """Put a notebook's numbers under `section` of results.json, the only place the report takes numbers from."""
    with sole_use(REPORT, wait=True):  # two notebooks may run at once
        write_json(RESULTS, dict(sorted((results() | {section: values}).items())))


def write_lines(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, "\n".join(lines) + "\n")


def costs() -> list[dict[str, Any]]:
    """What each experiment is made of: runs, the seeds among them, optimiser steps, and minutes of training steps."""
    told = []
    for name, make in STORED.items():
        runs = [stored(name, config) for config in make()]
        told.append(
            {
                "name": name,
                "runs": len(runs),
                "seeds": len({run.config.seed for run in runs}),
                "steps": sum(run.summary["steps"] for run in runs),
                "minutes": sum(run.summary["seconds"] for run in runs) / 60,
            }
        )
    return told
