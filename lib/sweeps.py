"""Cells of a sweep, each some runs that differ by seed: what comes of them, in numbers and as tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from IPython.display import Markdown

from lib import stats
from lib.runs import Run, censored

Cells = Mapping[str, Sequence[Run]]
MILESTONES = {"t_fit": "T_fit", "t_grok": "T_grok", "delay": "delay", "seconds": "seconds to T_grok"}


def outcome(runs: Sequence[Run]) -> dict[str, Any]:
    """What comes of a cell: Kaplan-Meier medians with their 95 % intervals, and the share that groks with Wilson's.

    `t_fit`, `t_grok` and `delay` in steps, `seconds` of training until T_grok, each (median, low, high), None where
    too many runs do not get there; `p_grok` (share, low, high); `lowest`: the lowest test accuracy of any run after
    the three evaluations that make T_grok; `after`: the last step at least, as a multiple of T_grok; `test_acc`: the
    median at the end.
    """
    grokked = [run for run in runs if run.t_grok is not None]
    told = {name: list(stats.median_time(*censored(runs, name))) for name in MILESTONES}
    told |= {"n": len(runs), "grokked": len(grokked)}
    told["p_grok"] = [len(grokked) / len(runs), *stats.wilson(len(grokked), len(runs))]
    results = [run.results() for run in grokked]
    for short, name, worst in (("lowest", "lowest_after_grok", min), ("share_below", "share_below_after_grok", max)):
        told[short] = worst((r[name] for r in results if r[name] is not None), default=None)
    told["after"] = min((run.summary["steps"] / run.t_grok for run in grokked), default=None)
    told["test_acc"] = float(np.median([run.summary["test_acc"] for run in runs]))
    return told


def table(cells: Cells, first: str) -> Markdown:
    """A row per cell; medians with their 95 % intervals; "–" where too few runs get there to say."""
    head = [first, "grokked", "P(grok)", *MILESTONES.values(), "lowest test accuracy after"]
    rows = [head, ["---"] + ["---:"] * (len(head) - 1)]
    for name, runs in cells.items():
        told = outcome(runs)
        share, low, high = told["p_grok"]
        rows.append([name, f"{told['grokked']}/{told['n']}", f"{share:.0%} [{low:.0%}–{high:.0%}]"])
        rows[-1] += [interval(*told[milestone]) for milestone in MILESTONES]
        rows[-1].append("–" if told["lowest"] is None else f"{told['lowest']:.1%}")
    return Markdown("\n".join(f"| {' | '.join(row)} |" for row in rows))


def interval(median: float | None, low: float | None, high: float | None) -> str:
    """ "410 [390–550]"; an end that the runs do not determine is left open."""
    if median is None:
        return "–"
    show = ["" if value is None else f"{value:,.0f}" for value in (low, high)]
    return f"{median:,.0f} [{show[0]}–{show[1]}]"


def finals(runs: Sequence[Run]) -> dict[str, list[float]]:
    """[median, lowest, highest] over the seeds of the last evaluation's losses and accuracies."""
    names = ("train_loss", "test_loss", "train_acc", "val_acc", "test_acc")
    values = {name: [run.summary[name] for run in runs] for name in names}
    return {name: [float(np.median(v)), min(v), max(v)] for name, v in values.items()}


def finals_table(cells: Cells, first: str) -> Markdown:
    """A row per cell: the last evaluation, as median and range over the seeds, and the steps to 99 %."""
    head = [first, "train loss", "test loss", "train", "val", "test accuracy", "T_fit", "T_grok"]
    rows = [head, ["---"] + ["---:"] * (len(head) - 1)]
    for name, runs in cells.items():
        row = [name]
        for key, (median, low, high) in finals(runs).items():
            show = "{:.2g}" if key.endswith("loss") else "{:.2%}"
            row.append(f"{show.format(median)} ({show.format(low)}–{show.format(high)})")
        told = outcome(runs)
        row += ["–" if told[key][0] is None else f"{told[key][0]:,.0f}" for key in ("t_fit", "t_grok")]
        rows.append(row)
    return Markdown("\n".join(f"| {' | '.join(row)} |" for row in rows))


def trials(runs: Sequence[Run], n: int) -> list[dict[str, Any]]:
    """What decided between settings, of `n` runs each that follow one another: the validation split, and it alone.

    `setting`: the fields in which the settings differ; `solved`: per run, the first of three evaluations in a row with
    99 % validation accuracy, or None; `val_acc`: per run, at its end.
    """
    settings = [runs[i : i + n] for i in range(0, len(runs), n)]
    flat = [cell[0].config.flat() for cell in settings]
    vary = [name for name in flat[0] if name != "seed" and len({values[name] for values in flat}) > 1]
    return [
        {
            "setting": {name.partition(".")[2]: values[name] for name in vary},
            "solved": [stats.steps_to_grok(run.metrics["step"], run.metrics["val_acc"]) for run in cell],
            "val_acc": [run.summary["val_acc"] for run in cell],
        }
        for values, cell in zip(flat, settings, strict=True)
    ]


def trials_table(runs: Sequence[Run], n: int) -> Markdown:
    """The same as a table, a row per setting."""
    told = trials(runs, n)
    head = [*told[0]["setting"], "99 % of val from step", "val accuracy at the end"]
    rows = [head, ["---:"] * len(head)]
    for trial in told:
        solved = ", ".join("–" if step is None else f"{step:,}" for step in trial["solved"])
        rows.append([*map(str, trial["setting"].values()), solved])
        rows[-1].append(", ".join(f"{accuracy:.2%}" for accuracy in trial["val_acc"]))
    return Markdown("\n".join(f"| {' | '.join(row)} |" for row in rows))


def ranking(factors: Mapping[str, Cells], baseline: Sequence[Run]) -> Markdown:
    """All cells, the quickest first: T_grok over that of the baseline's run with the same seed.

    Median and range over the seeds on which the baseline groks; a run that does not counts as later than any.
    """
    by_seed = {run.config.seed: run.t_grok for run in baseline if run.t_grok is not None}
    rows = []
    for name, cells in factors.items():
        for label, runs in cells.items():
            paired = [run for run in runs if run.config.seed in by_seed]
            ratios = sorted((run.t_grok or np.inf) / by_seed[run.config.seed] for run in paired)
            low, middle, high = ratios[0], float(np.median(ratios)), ratios[-1]
            grokked = sum(run.t_grok is not None for run in runs)
            shown = ["∞" if value == np.inf else f"{value:.2f}" for value in (middle, low, high)]
            row = f"| {name} | {label} | {grokked}/{len(runs)} | {shown[0]} ({shown[1]}–{shown[2]}) |"
            rows.append((middle, -grokked, low, row))
    head = ["| factor | cell | grokked | T_grok ÷ baseline's |", "| --- | --- | ---: | ---: |"]
    return Markdown("\n".join(head + [row for *_, row in sorted(rows)]))
