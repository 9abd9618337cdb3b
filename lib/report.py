"""Numbers and pages: results.json, the README's table, and report.pdf."""

import json
from pathlib import Path
from typing import Any

import typst

from lib.config import UserError
from lib.runs import ROOT
from lib.tracker import write_atomically, write_json

REPORT = ROOT / "report"
RESULTS = REPORT / "results.json"


def record(section: str, values: dict[str, Any]) -> None:
    """Put a notebook's numbers under `section` of results.json, the only place the report takes numbers from."""
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    results[section] = values
    write_json(RESULTS, dict(sorted(results.items())))


def write_lines(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, "\n".join(lines) + "\n")


def build() -> Path:
    """Set report/report.pdf. Equal results and figures give equal bytes: own fonts only, and a fixed date."""
    pdf = REPORT / "report.pdf"
    try:
        content = typst.compile(
            str(REPORT / "report.typ"), root=str(ROOT), ignore_system_fonts=True, timestamp=0, format="pdf"
        )
    except typst.TypstError as error:
        raise UserError(f"report/report.typ: {error}; are all notebooks executed?") from None
    write_atomically(pdf, content)
    return pdf
