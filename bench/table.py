"""How fast equations are trained: ratios, beside those of an older commit and of the goals.

The older commit is checked out into a temporary folder, which needs the repository's history. The sides take turns, in
processes of one thread each. Times are medians.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode

from lib.experiments.presets import DIVISION
from lib.model import Transformer
from lib.support.files import ROOT
from lib.training.datasets import load_data
from lib.training.prefixes import SharedPrefixes

BEFORE = "4c82c37"  # the last commit with all of `lib` in one folder
ROUNDS, EVALUATIONS = 40, 8
SEEDS = (1000, 1001, 1002)  # of the recipe's twenty
PRODUCTS = ((1218, 128, 512), (1218, 512, 128), (512, 128, 512))  # the largest of a step: rows, inner size, columns


class Row(NamedTuple):
    what: str
    before: str
    ours: str
    goal: str = ""
    aim: str = ""


class Side:
    """A process that trains with the library in a folder."""

    def __init__(self, root: Path) -> None:
        script = [sys.executable, str(ROOT / "bench" / "side.py")]
        environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(script, env=environment, cwd=root, **pipes)

    def __enter__(self) -> "Side":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        self.process.wait()

    def __call__(self, *command: object) -> float:
        print(*command, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """The project at a commit, in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", tree, commit], cwd=ROOT, check=True)
        try:
            yield tree
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=ROOT, check=True)


def in_turns(calls: dict[str, list[tuple[Side, tuple[object, ...]]]], rounds: int) -> dict[str, list[float]]:
    """For each name the median seconds of its calls, which take turns with all others; the first two rounds warm up."""
    times: dict[str, list[list[float]]] = {name: [[] for _ in sides] for name, sides in calls.items()}
    for _ in range(rounds + 2):
        for name, sides in calls.items():
            for kept, (side, command) in zip(times[name], sides, strict=True):
                kept.append(side(*command))
    return {name: [statistics.median(kept[2:]) for kept in lists] for name, lists in times.items()}


def steps_and_evaluations(before: Side, now: Side) -> list[Row]:
    kinds = ("float32", "bfloat16")
    both = (before, now)
    calls = {kind: [(side, ("step", kind)) for side in both] for kind in kinds}
    steps = in_turns(calls | {"plain": [(now, ("plain",))]}, ROUNDS)
    evaluations = in_turns({kind: [(side, ("evaluation", kind)) for side in both] for kind in kinds}, EVALUATIONS)
    [plain], unit = steps["plain"], steps["float32"][0]
    goals = {"float32": ("1/2.8", "1/3.3"), "bfloat16": ("1/4.5", "1/5.5")}
    rows = [
        Row(
            f"training step, {kind}, against the plain loop", *(f"1/{plain / s:.2f}" for s in steps[kind]), *goals[kind]
        )
        for kind in kinds
    ]
    goals = {"float32": ("3.8", "3.2"), "bfloat16": ("2.2", "1.7")}
    what = "evaluation of 9,312 equations, {}, in float32 steps of before"
    rows += [Row(what.format(kind), *(f"{s / unit:.2f}" for s in evaluations[kind]), *goals[kind]) for kind in kinds]
    for kind in kinds:
        floor = work() / rate(getattr(torch, kind))
        what = f"products in a step, {kind}: {1e3 * floor:.1f} ms as one core does them"
        rows.append(Row(what, *(f"{floor / s:.0%} of {1e3 * s:.1f} ms" for s in steps[kind])))
    return rows


def work() -> int:
    """FLOP of a step's products."""
    data = load_data(DIVISION)
    model = Transformer(DIVISION.model, data.tokenizer.vocab_size)
    batch = data.splits["train"][: DIVISION.train.batch_size]
    with FlopCounterMode(display=False) as counter:
        SharedPrefixes(data)(model, batch, "last")[0].sum().backward()
    return counter.get_total_flops()


def rate(dtype: torch.dtype) -> float:
    """FLOP per second of plain products of a step's shapes, on one core."""
    seconds, flop = 0.0, 0
    for rows, inner, columns in PRODUCTS:
        a, b = torch.randn(rows, inner).to(dtype), torch.randn(inner, columns).to(dtype)
        timer = Timer("a @ b", globals={"a": a, "b": b}, num_threads=1)
        seconds += timer.blocked_autorange(min_run_time=0.3).median
        flop += 2 * rows * inner * columns
    return flop / seconds


def recipe(before: Side, now: Side) -> Row:
    times = [(before("until_grokked", seed), now("until_grokked", seed)) for seed in SEEDS]
    old, new = (sum(seconds) for seconds in zip(*times, strict=True))
    what = f"seconds of the recipe to T_grok, {len(SEEDS)} seeds ({old / len(SEEDS):.1f} s a seed before)"
    return Row(what, "1", f"{new / old:.2f}", "0.6", "0.4")


def memory(before: Path, now: Path) -> Row:
    peaks = []
    for root in (before, now):
        with Side(root) as side:
            peaks.append(side("peak_memory"))
    return Row(f"peak memory of a sweep's worker ({peaks[0]:.0f} MB before)", "1", f"{peaks[1] / peaks[0]:.2f}", "0.7")


def show(rows: list[Row]) -> None:
    head = Row("", "before", "ours", "goal", "aim")
    widths = [max(len(cell) for cell in column) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def main() -> None:
    torch.set_num_threads(1)
    with ExitStack() as stack:
        tree = stack.enter_context(checkout(BEFORE))
        sides = [stack.enter_context(Side(root)) for root in (tree, ROOT)]
        rows = [*steps_and_evaluations(*sides), recipe(*sides), memory(tree, ROOT)]
    show(rows)


if __name__ == "__main__":
    main()
