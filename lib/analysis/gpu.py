"""What `python -m bench.gpu` has measured, and what of it still waits for a GPU."""

import csv
from pathlib import Path

from IPython.display import Markdown

from lib.analysis.cells import markdown
from lib.runs.run import CHECKPOINTS
from lib.support.errors import UserError

TABLE = CHECKPOINTS / "gpu" / "gpu.csv"
COLUMNS = ("row", "what", "value", "unit", "device")
ROWS = {  # of bench/gpu_rows.py
    "1": "the twelve of LSTM against GPT, at the assignment's size",
    "2": "1,024 seeds of the recipe at once, against one at a time",
    "3": "GPT-2 medium and large: speed and memory",
    "4": "Figure 1 (a): the paper's network without decay, a million steps, 16 seeds",
    "5": "the five of TinyStories, at the assignment's size",
    "6": "T_grok of the recipe's seeds on a GPU, against a CPU",
    "account": "our count of GPT-2's memory over what a GPU held",
}


def measured(path: Path = TABLE) -> dict[str, list[dict[str, str]]]:
    """The measurements of each row, in texts; none where the row was not run. Raises UserError if damaged."""
    lines = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines())) if path.exists() else []
    told: dict[str, list[dict[str, str]]] = {row: [] for row in ROWS}
    for i, line in enumerate(lines, 2):
        if None in line.values() or not line.keys() >= set(COLUMNS) or line["row"] not in ROWS:
            raise UserError(f"{path}, line {i}: damaged; must have a row of {list(ROWS)}, and a value for each column")
        told[line["row"]].append({column: line[column] or "?" for column in COLUMNS[1:]})  # "?": not reached
    return told


def table(*rows: str) -> Markdown:
    """A line per measurement of some rows, or "not run"."""
    told, lines = measured(), []
    for row in rows:
        lines += [[f"{ROWS[row]}: {m['what']}", f"{m['value']} {m['unit']}", m["device"]] for m in told[row]]
        lines += [] if told[row] else [[ROWS[row], "not run", "–"]]
    return markdown(["row of `python -m bench.gpu`", "measured", "device"], lines)
