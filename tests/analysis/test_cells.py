"""Cells of a sweep: outcomes and tables."""

from pathlib import Path

import pytest
from conftest import made_up

from lib.analysis import cells as sweeps
from lib.analysis.cells import censored
from lib.analysis.statistics import log_rank
from lib.config import RunConfig
from lib.runs.run import Run


def test_outcome_counts_runs_that_do_not_get_there(cell: list[Run]) -> None:
    assert censored(cell, "t_grok") == ([20, 40, 100, 100], [True, True, False, False])
    assert censored(cell, "delay") == ([10, 30, 70], [True, True, False])  # the last never fits: it has no delay
    told = sweeps.outcome(cell)
    assert (told["n"], told["grokked"], told["p_grok"][0]) == (4, 2, 0.5)
    assert told["t_fit"][0] == 10 and told["t_grok"][0] == 40
    assert told["lowest"] == 0.5 and told["share_below"] == pytest.approx(1 / 4) and told["after"] == 2.5
    nobody = sweeps.outcome(cell[2:])
    assert nobody["t_grok"] == [None, None, None] and nobody["lowest"] is None and nobody["p_grok"][1] == 0


def test_cells_are_compared_with_their_baseline_all_together(cell: list[Run]) -> None:
    p = sweeps.against({"x": {"same": cell, "never": cell[2:] * 20}, "y": {"same": cell}}, cell)
    alone = log_rank(censored(cell[2:] * 20, "t_grok"), censored(cell, "t_grok"))
    assert p == {"x": {"same": 1.0, "never": pytest.approx(3 * alone)}, "y": {"same": 1.0}} and 3 * alone < 1


def test_tables_have_a_row_per_cell(cell: list[Run]) -> None:
    rows = sweeps.outcome_table({"all": cell, "none": cell[2:]}, "cell").data.splitlines()
    assert rows[2].startswith("| all | 2/4, 1 at chance on train | 50% [15%–85%] | 10 [")
    assert rows[3].startswith("| none | 0/2, 1 at chance on train | 0% [0%–66%] |")
    assert rows[3].endswith("| – | – |")
    assert len({row.count("|") for row in rows}) == 1


def test_the_last_evaluation_of_a_cell(cell: list[Run]) -> None:
    for run, loss in zip(cell, (0.4, 0.1, 0.2, 0.3), strict=True):
        run.summary |= {"test_loss": loss}
    assert sweeps.finals(cell)["test_loss"] == [0.25, 0.1, 0.4]
    rows = sweeps.finals_table({"all": cell}, "cell").data.splitlines()
    assert rows[2].startswith("| all |") and "0.25 (0.1–0.4)" in rows[2]
    assert rows[2].endswith("| 10 | 40 |") and len({row.count("|") for row in rows}) == 1


def test_trials_tell_what_differs_and_what_the_validation_split_says(tiny: RunConfig, tmp_path: Path) -> None:
    runs = [made_up(tmp_path, tiny.override({"optim.lr": 0.1 if i < 2 else 0.2}), i, None, None) for i in range(4)]
    for i, run in enumerate(runs):
        run.metrics["val_acc"] = (run.metrics["step"] >= 10 * i).astype(float)
        run.summary["val_acc"] = 1.0
    runs[3].metrics["val_acc"][:] = 0
    told = sweeps.trials(runs)
    assert [trial["setting"] for trial in told] == [{"lr": runs[0].config.optim.lr}, {"lr": runs[2].config.optim.lr}]
    assert [trial["solved"] for trial in told] == [[0, 10], [20, None]]
    assert "| 20, – |" in sweeps.trials_table(runs).data
