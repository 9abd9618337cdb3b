"""Cells of a sweep, each some runs that differ by seed and split alone: milestones, final metrics and tables."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from IPython.display import Markdown

from lib.analysis import statistics
from lib.config import RunConfig
from lib.objective import steps_to_grok
from lib.runs.run import Run

Cells = Mapping[str, Sequence[Run]]
FINALS = ("train_loss", "test_loss", "train_acc", "val_acc", "test_acc")
CHANCE = ("seed", "data.split_seed")  # in which the runs of one cell may differ
MILESTONES = {"t_fit": "T_fit", "t_grok": "T_grok", "delay": "delay"}


def group(runs: Sequence[Run]) -> list[list[Run]]:
    """The cells of runs, in the order of their first runs."""
    grouped: dict[RunConfig, list[Run]] = {}
    for run in runs:
        grouped.setdefault(run.config.override(dict.fromkeys(CHANCE, 0)), []).append(run)
    return list(grouped.values())


def named(names: Iterable[str], runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The cells of runs by name."""
    return dict(zip(names, group(runs), strict=True))


def medians(runs: Sequence[Run]) -> dict[str, float | None]:
    """Kaplan-Meier medians of T_fit, T_grok and the delay; None where too many runs are censored for a median."""
    return {name: statistics.median_time(*censored(runs, name))[0] for name in ("t_fit", "t_grok", "delay")}


def censored(runs: Sequence[Run], name: str) -> tuple[list[float], list[bool]]:
    """(times, observed) of a milestone; the time of a run that does not reach the milestone is the run's end.

    A run that does not fit has no delay, and is left out of the delay's sample.
    """
    times, observed = [], []
    for run in runs:
        if name == "delay" and run.t_fit is None:
            continue
        value, limit = getattr(run, name), run.metrics["step"][-1] - (run.t_fit if name == "delay" else 0)
        if run.diverged_at is not None:
            limit = np.inf  # however long we look
        times.append(float(limit if value is None else value))
        observed.append(value is not None)
    return times, observed


def outcome(runs: Sequence[Run]) -> dict[str, Any]:
    """A cell's Kaplan-Meier medians with their 95 % intervals, and the share of runs that grok with Wilson's interval.

    `t_fit`, `t_grok` and `delay` in steps, each (median, low, high), None where too many runs do not get there;
    `p_grok` (share, low, high); `lowest`: the lowest test accuracy of any run after the three evaluations that make
    T_grok; `after`: the last step at least, as a multiple of T_grok.
    """
    grokked = [run for run in runs if run.t_grok is not None]
    told = {name: list(statistics.median_time(*censored(runs, name))) for name in MILESTONES}
    told |= {"n": len(runs), "grokked": len(grokked)}
    told["p_grok"] = [len(grokked) / len(runs), *statistics.wilson(len(grokked), len(runs))]
    results = [run.results() for run in grokked]
    for short, name, worst in (("lowest", "lowest_after_grok", min), ("share_below", "share_below_after_grok", max)):
        told[short] = worst((r[name] for r in results if r[name] is not None), default=None)
    told["after"] = min((run.summary["steps"] / run.t_grok for run in grokked), default=None)
    return told


def outcome_table(cells: Cells, first: str) -> Markdown:
    """A row per cell; medians with their 95 % intervals; "–" where too few runs get there to say."""
    rows = []
    for name, runs in cells.items():
        told = outcome(runs)
        share, low, high = told["p_grok"]
        chance = sum(run.at_chance for run in runs)
        grokked = f"{told['grokked']}/{told['n']}" + (f", {chance} at chance on train" if chance else "")
        row = [name, grokked, f"{share:.0%} [{low:.0%}–{high:.0%}]"]
        row += [interval(*told[milestone]) for milestone in MILESTONES]
        rows.append([*row, "–" if told["lowest"] is None else statistics.at_least(told["lowest"])])
    return markdown([first, "grokked", "P(grok)", *MILESTONES.values(), "lowest test accuracy after"], rows)


def shown(value: float | None, form: str) -> str:
    return "–" if value is None else f"{value:{form}}"


def interval(median: float | None, low: float | None, high: float | None) -> str:
    """ "410 [390–550]"; an end that the runs do not determine is left open."""
    if median is None:
        return "–"
    show = ["" if value is None else f"{value:,.0f}" for value in (low, high)]
    return f"{median:,.0f} [{show[0]}–{show[1]}]"


def against(factors: Mapping[str, Cells], baseline: Sequence[Run]) -> dict[str, dict[str, float]]:
    """p by factor and cell: T_grok against the baseline's by the log-rank test, all of them corrected together."""
    reference = censored(baseline, "t_grok")
    p = {
        (factor, name): statistics.log_rank(censored(runs, "t_grok"), reference)
        for factor, cells in factors.items()
        for name, runs in cells.items()
    }
    adjusted = statistics.holm(p)
    return {factor: {name: adjusted[factor, name] for name in cells} for factor, cells in factors.items()}


def ranking(factors: Mapping[str, Cells], baseline: Sequence[Run]) -> Markdown:
    """All cells, the quickest median T_grok first, and it over the baseline's; those without a median by P(grok)."""
    reference, p = outcome(baseline)["t_grok"][0], against(factors, baseline)
    ranked = []
    for factor, cells in factors.items():
        for name, runs in cells.items():
            told = outcome(runs)
            median, low, high = told["t_grok"]
            ratio = "–" if median is None else f"{median / reference:.2f}"
            row = [factor, name, f"{told['grokked']}/{told['n']}", interval(median, low, high), ratio]
            ranked.append((median or np.inf, -told["p_grok"][0], [*row, f"{p[factor][name]:.2g}"]))
    rows = [row for *_, row in sorted(ranked, key=lambda entry: entry[:2])]
    return markdown(["factor", "cell", "grokked", "T_grok", "÷ baseline's", "p, corrected"], rows)


def finals(runs: Sequence[Run]) -> dict[str, Any]:
    """[median, lowest, highest] over the seeds of the last evaluation's losses and accuracies.

    `done`: how many have a test accuracy of at least 99.9 %.
    """
    told = {name: statistics.median_and_range([run.summary[name] for run in runs]) for name in FINALS}
    return told | {"done": sum(run.summary["test_acc"] >= 0.999 for run in runs)}


def finals_table(cells: Cells, first: str) -> Markdown:
    """A row per cell: the last evaluation, as median and range over the seeds, and the steps to 99 %."""
    rows = []
    for name, runs in cells.items():
        end, milestones = finals(runs), medians(runs)
        row = [name]
        for key in FINALS:
            form = ".2g" if key.endswith("loss") else ".2%"
            row.append("{:{form}} ({:{form}}–{:{form}})".format(*end[key], form=form))
        rows.append(row + [shown(milestones[key], ",.0f") for key in ("t_fit", "t_grok")])
    return markdown([first, "train loss", "test loss", "train", "val", "test accuracy", "T_fit", "T_grok"], rows)


def trials(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """What decides between settings, cells of runs: the validation split, and nothing else.

    `setting`: the fields in which the settings differ; `solved`: per run, the first of three evaluations in a row with
    99 % validation accuracy, or None; `val_acc`: per run, at its end.
    """
    settings = group(runs)
    flat = [tried[0].config.flat() for tried in settings]
    vary = [name for name in flat[0] if name not in CHANCE and len({values[name] for values in flat}) > 1]
    told = []
    for values, tried in zip(flat, settings, strict=True):
        solved = [steps_to_grok(run.metrics["step"], run.metrics["val_acc"]) for run in tried]
        setting = {name.partition(".")[2]: values[name] for name in vary}
        told.append({"setting": setting, "solved": solved, "val_acc": [run.summary["val_acc"] for run in tried]})
    return told


def trials_table(runs: Sequence[Run]) -> Markdown:
    """`trials` as a table, a row per setting."""
    told = trials(runs)
    rows = []
    for trial in told:
        solved = ", ".join(shown(step, ",") for step in trial["solved"])
        accuracies = ", ".join(f"{accuracy:.2%}" for accuracy in trial["val_acc"])
        rows.append([*map(str, trial["setting"].values()), solved, accuracies])
    return markdown([*told[0]["setting"], "99 % of val from step", "val accuracy at the end"], rows)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Markdown:
    """A table, the first column to the left, the others to the right."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return Markdown("\n".join(f"| {' | '.join(line)} |" for line in lines))
