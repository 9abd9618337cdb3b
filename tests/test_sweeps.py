"""Cells of a sweep: outcomes, tables, figures; and the experiments that fill them."""

from pathlib import Path

import pytest

from lib import experiments, plots, sweeps
from lib.config import RunConfig
from lib.experiments import BASELINE, CLAIM, CLAIMS, FACTORS, MANY, SEEDS
from lib.runs import Run, censored, find
from lib.tracker import COLUMNS, line
from lib.train import train


def made_up(folder: Path, tiny: RunConfig, seed: int, t_fit: int | None, t_grok: int | None, low: float = 1.0) -> Run:
    """A run folder with these milestones: 100 steps of 10, two a second, the last but one evaluation at `low`."""
    config = tiny.override({"seed": seed, "train.max_steps": 100})
    train(config.override({"train.max_steps": 1}), folder / str(seed))
    rows = []
    for step in range(0, 101, 10):
        train_acc = float(t_fit is not None and step >= t_fit)
        test_acc = float(t_grok is not None and step >= t_grok) * (low if step == 90 else 1.0)
        values = {"step": step, "time_s": step / 2, "train_acc": train_acc, "test_acc": test_acc, "test_loss": 0.5}
        rows.append([f"{values[name]:g}" if name in values else "" for name in COLUMNS])
    (folder / str(seed) / "metrics.csv").write_text("".join(map(line, [list(COLUMNS), *rows])))
    run = Run(folder / str(seed))
    run.summary |= {"t_fit": t_fit, "t_grok": t_grok, "steps": 100, "test_acc": test_acc}
    return run


@pytest.fixture
def cell(tiny: RunConfig, tmp_path: Path) -> list[Run]:
    return [
        made_up(tmp_path, tiny, 0, 10, 20),
        made_up(tmp_path, tiny, 1, 10, 40, low=0.5),
        made_up(tmp_path, tiny, 2, 30, None),
        made_up(tmp_path, tiny, 3, None, None),
    ]


def test_outcome_counts_runs_that_do_not_get_there(cell: list[Run]) -> None:
    assert censored(cell, "t_grok") == ([20, 40, 100, 100], [True, True, False, False])
    assert censored(cell, "delay") == ([10, 30, 70], [True, True, False])  # the last never fits: it has no delay
    assert censored(cell, "seconds") == ([10, 20, 50, 50], [True, True, False, False])
    told = sweeps.outcome(cell)
    assert (told["n"], told["grokked"], told["p_grok"][0]) == (4, 2, 0.5)
    assert told["t_fit"][0] == 10 and told["t_grok"][0] == 40 and told["seconds"][0] == 20
    assert told["lowest"] == 0.5 and told["share_below"] == pytest.approx(1 / 4) and told["after"] == 2.5
    nobody = sweeps.outcome(cell[2:])
    assert nobody["t_grok"] == [None, None, None] and nobody["lowest"] is None and nobody["p_grok"][1] == 0


def test_tables_have_a_row_per_cell(cell: list[Run]) -> None:
    rows = sweeps.table({"all": cell, "none": cell[2:]}, "cell").data.splitlines()
    assert rows[2].startswith("| all | 2/4 | 50% [15%–85%] | 10 [")
    assert rows[3].startswith("| none | 0/2 | 0% [0%–66%] |") and rows[3].endswith("| – | – | – |")
    assert len({row.count("|") for row in rows}) == 1


def test_every_run_has_its_mark(cell: list[Run]) -> None:
    plots.style()
    cells = {"all": cell, "none": cell[2:]}
    figure = sweeps.factor(cells, "made up")
    marks = [line.get_marker() for line in figure.axes[1].lines]
    assert marks.count(">") == 4 and marks.count("o") == 3 + 2 + 1  # T_fit three times and once, T_grok twice
    assert [text.get_text() for text in figure.axes[1].get_yticklabels()] == ["all", "none"]
    summary = sweeps.summary({"factor": cells}, 40)
    assert [line.get_marker() for line in summary.axes[0].lines].count(">") == 4


def test_the_middle_run() -> None:
    class Fake:
        def __init__(self, t_grok: int | None, test_acc: float) -> None:
            self.t_grok, self.summary = t_grok, {"test_acc": test_acc}

    runs = [Fake(None, 0.2), Fake(30, 1.0), Fake(None, 0.9), Fake(10, 1.0), Fake(20, 1.0)]
    assert sweeps.middle(runs) is runs[1] and sweeps.middle(runs[:3]) is runs[2]


def test_cells_have_the_promised_seeds() -> None:
    for name, cells in FACTORS.items():
        configs = [experiments.ablation_cell(changes) for changes in cells.values()]
        assert sum(runs[0] == BASELINE for runs in configs) == 1, name
        for changes, runs in zip(cells.values(), configs, strict=True):
            expected = MANY if runs[0] == BASELINE else CLAIM if changes in CLAIMS else SEEDS
            assert len(set(runs)) == expected and SEEDS >= 5 and CLAIM >= 10 and MANY >= 20, (name, changes)
    assert len(FACTORS["train fraction"]) >= 8
    tried = {run.seed for name, make in experiments.ALL.items() if name != "recipe" for run in make()}
    assert len(experiments.recipe()) == MANY and not tried & {run.seed for run in experiments.recipe()}


def test_stored_sweeps_are_complete() -> None:
    """Every run of every experiment is committed, so that `make` trains nothing."""
    for name, make in experiments.ALL.items():
        missing = [config.id for config in make() if find(name, config) is None]
        assert not missing, f"{name}: {missing}"
