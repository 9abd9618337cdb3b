"""The tournament of notebook 05: who goes on after a round of trials, and how the entries of an arena compare.

`python -m lib.analysis.tournament` reads the stored trials and writes what they choose into tournament.json.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from IPython.display import Markdown

from lib.analysis import statistics
from lib.analysis.cells import Cells, censored, interval, markdown, outcome
from lib.config import RunConfig
from lib.experiments import tournament as plan
from lib.objective import SOLVED, steps_to_grok
from lib.runs.run import CHECKPOINTS, Run, find
from lib.support.errors import one_line_errors
from lib.support.files import write_json

REFERENCE = "AdamW"
ENDPOINT = "t_grok"  # what is tested, in steps; named before any arena was run


def score(runs: Sequence[Run]) -> tuple[float, float]:
    """What settings are ranked by, the least first; the validation split decides, and nothing else.

    The median over runs of the equations seen until the first of three evaluations in a row with 99 % validation
    accuracy; where that is not reached, the mean validation accuracy at the end.
    """
    seen = []
    for run in runs:
        solved = steps_to_grok(run.metrics["step"], run.metrics["val_acc"])
        seen.append(np.inf if solved is None else solved * run.config.train.batch_size)
    return float(np.median(seen)), -float(np.mean([run.summary["val_acc"] for run in runs]))


def best(settings: Cells, n: int) -> list[str]:
    """The names of the n settings with the least scores; of two alike the earlier one."""
    return sorted(settings, key=lambda name: score(settings[name]))[:n]


def opened(cells: Mapping[str, list[RunConfig]], experiment: str, root: Path) -> dict[str, list[Run]] | None:
    """The stored runs of some cells; None if one is missing."""
    runs = {name: [find(experiment, config, root) for config in configs] for name, configs in cells.items()}
    return None if any(None in cell for cell in runs.values()) else runs


def choices(root: Path = CHECKPOINTS) -> dict[str, dict[str, list[str]]]:
    """What each round of trials chooses of each entry: from its trials, or as known where these are not stored."""
    told = plan.known()
    rounds = ((plan.first_round, "tournament_trials"), (plan.second_round, "tournament_second_trials"))
    for (make, experiment), what in zip(rounds, plan.ROUNDS, strict=True):
        for entry, settings in make().items():
            trials = opened(settings, experiment, root)
            if trials is not None:
                told.setdefault(what, {})[entry] = best(trials, plan.KEPT[what])
    return told


def quiet(runs: Sequence[Run]) -> tuple[list[float], list[bool]]:
    """(times, observed): steps from T_grok to the first evaluation below 99 % on test, or to the run's end."""
    times, observed = [], []
    for run in runs:
        if run.t_grok is not None:
            steps, accuracy = run.metrics["step"], run.metrics["test_acc"]
            fallen = steps[(steps > run.t_grok) & (accuracy < SOLVED)]
            times.append(float((fallen[0] if len(fallen) else steps[-1]) - run.t_grok))
            observed.append(len(fallen) > 0)
    return times, observed


def standings(cells: Cells) -> dict[str, dict[str, Any]]:
    """The `outcome` of each entry of an arena, and how it compares with the reference.

    `equations` seen until T_grok, (median, low, high). `stayed`: runs without an evaluation below 99 % after T_grok;
    `quiet`: the shortest time from T_grok to such an evaluation or to the end, in steps. `p`: of the log-rank test of
    T_grok against the reference; `p_holm`: corrected for the number of entries; None for the reference.
    """
    told = {name: outcome(runs) for name, runs in cells.items()}
    reference = censored(cells[REFERENCE], ENDPOINT)
    others = {name: runs for name, runs in cells.items() if name != REFERENCE}
    p = {name: statistics.log_rank(censored(runs, ENDPOINT), reference) for name, runs in others.items()}
    corrected = statistics.holm(p)
    for name, runs in cells.items():
        [batch_size] = {run.config.train.batch_size for run in runs}
        times, fallen = quiet(runs)
        told[name]["equations"] = [None if step is None else step * batch_size for step in told[name]["t_grok"]]
        told[name] |= {"stayed": fallen.count(False), "quiet": min(times, default=None)}
        told[name] |= {"p": p.get(name), "p_holm": corrected.get(name)}
    return told


def standings_table(cells: Cells) -> Markdown:
    """A row per entry, the quickest median T_grok first; medians with their 95 % intervals."""
    told = standings(cells)
    rows = []
    for name in sorted(told, key=lambda name: (told[name]["t_grok"][0] or np.inf, -told[name]["grokked"])):
        entry = told[name]
        share, low, high = entry["p_grok"]
        row = [name, f"{entry['grokked']}/{entry['n']}", f"{share:.0%} [{low:.0%}–{high:.0%}]"]
        row += [interval(*entry[key]) for key in ("t_fit", "t_grok", "delay", "equations")]
        row.append(f"{entry['stayed']}/{entry['grokked']}" + (f", {entry['quiet']:,.0f}" if entry["grokked"] else ""))
        rows.append([*row, "–" if entry["p_holm"] is None else f"{entry['p_holm']:.2g}"])
    head = ["entry", "grokked", "P(grok)", "T_fit", "T_grok", "delay", "equations"]
    return markdown([*head, "stayed, quiet steps at least", f"p against {REFERENCE} (log-rank, Holm)"], rows)


@one_line_errors
def main() -> int:
    told = choices()
    write_json(plan.CHOICES, told)
    for what, entries in told.items():
        for entry, names in entries.items():
            print(f"{what:12}  {entry:28} {'; '.join(names)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
