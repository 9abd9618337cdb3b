"""Cells of a sweep: outcomes, tables, figures; and the experiments that fill them."""

import json
import subprocess
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from conftest import ROOT

from lib import ablation, ablation_figures, experiments, figure_one, plots, sweeps
from lib.ablation import BASELINE, CLAIM, CLAIMS, DELAYED, FACTORS, MANY, SEEDS
from lib.config import RunConfig
from lib.runs import Run, censored, find, stored
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
    summary = json.loads((folder / str(seed) / "summary.json").read_text())
    summary |= {"t_fit": t_fit, "t_grok": t_grok, "steps": 100, "test_acc": test_acc}
    (folder / str(seed) / "summary.json").write_text(json.dumps(summary))
    return Run(folder / str(seed))


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
    rows = sweeps.outcome_table({"all": cell, "none": cell[2:]}, "cell").data.splitlines()
    assert rows[2].startswith("| all | 2/4 | 50% [15%–85%] | 10 [")
    assert rows[3].startswith("| none | 0/2 | 0% [0%–66%] |") and rows[3].endswith("| – | – | – |")
    assert len({row.count("|") for row in rows}) == 1


def test_every_run_has_its_mark(cell: list[Run]) -> None:
    plots.style()
    cells = {"all": cell, "none": cell[2:]}
    figure = ablation_figures.factor(cells, "made up")
    marks = [line.get_marker() for line in figure.axes[1].lines]
    assert marks.count(">") == 4 and marks.count("o") == 3 + 2 + 1  # T_fit three times and once, T_grok twice
    assert [text.get_text() for text in figure.axes[1].get_yticklabels()] == ["all", "none"]
    both = ablation_figures.factor(cells, "made up", {"all": cell}).axes[1]
    assert [text.get_text() for text in both.get_yticklabels()] == ["all", "none", "all, 2 layers"]
    assert [line.get_marker() for line in both.lines].count(">") == 4 + 2


def test_the_summary_has_a_panel_for_each_network(cell: list[Run]) -> None:
    one = {"": {"baseline": cell}, "factor": {"all": cell, "none": cell[2:]}}
    two = {"": {"baseline": cell[:2]}, "factor": {"all": cell, "other": cell[2:]}}
    figure = ablation_figures.summary({"one": one, "two": two})
    for axes, censored_runs, median in zip(figure.axes, (2 + 2 + 2, 2 + 2), (40, 20), strict=True):
        assert [line.get_marker() for line in axes.lines].count(">") == censored_runs
        assert axes.lines[-1].get_xdata()[0] == median  # the baseline's, all the way down
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["baseline", "all", "none", "other"]


def test_the_middle_run() -> None:
    class Fake:
        def __init__(self, t_grok: int | None, test_acc: float) -> None:
            self.t_grok, self.summary = t_grok, {"test_acc": test_acc}

    runs = [Fake(None, 0.2), Fake(30, 1.0), Fake(None, 0.9), Fake(10, 1.0), Fake(20, 1.0)]
    assert ablation_figures.middle(runs) is runs[1] and ablation_figures.middle(runs[:3]) is runs[2]


@pytest.mark.parametrize("baseline", [BASELINE, ablation.TWO_LAYERS], ids=["one layer", "two layers"])
def test_cells_have_the_promised_seeds(baseline: RunConfig) -> None:
    for name, cells in FACTORS.items():
        configs = [ablation.ablation_cell(changes, baseline) for changes in cells.values()]
        assert sum(runs[0] == baseline for runs in configs) == 1, name
        for changes, runs in zip(cells.values(), configs, strict=True):
            expected = MANY if runs[0] == baseline else CLAIM if changes in CLAIMS else SEEDS
            assert len(set(runs)) == expected and SEEDS >= 5 and CLAIM >= 10 and MANY >= 20, (name, changes)
    assert len(FACTORS["train fraction"]) >= 8
    tried = {run.seed for name, make in experiments.ALL.items() if name != "recipe" for run in make()}
    assert len(ablation.recipe()) == MANY and not tried & {run.seed for run in ablation.recipe()}


def test_stored_sweeps_are_complete() -> None:
    """Every run of every experiment is committed, so that `make` trains nothing."""
    for name, make in experiments.ALL.items():
        missing = [config.id for config in make() if find(name, config) is None]
        assert not missing, f"{name}: {missing}"


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a git checkout")
def test_nothing_else_is_committed() -> None:
    listing = subprocess.run(["git", "ls-files", "checkpoints"], cwd=ROOT, capture_output=True, text=True, check=True)
    for path in {"/".join(file.split("/")[1:3]) for file in listing.stdout.splitlines()}:
        name, _, run = path.removesuffix(".zip").partition("/")
        inside = [] if run else ZipFile(ROOT / "checkpoints" / path).namelist()
        stored = [run] if run else [entry.partition("/")[0] for entry in inside]
        assert set(stored) <= {config.id for config in experiments.ALL[name]()}, path


def test_the_table_of_answers(tiny: RunConfig, tmp_path: Path) -> None:
    train(tiny.override({"train.keep_answers": True}), tmp_path)
    run = Run(tmp_path)
    cells, (seen, unseen) = figure_one.table(run, 50)
    at = run.metrics["step"] == 50
    sizes = tiny.data.split_sizes()
    assert np.bincount(cells.ravel(), minlength=5)[[1, 4]].tolist() == [round(seen * sizes["train"]), 11]
    assert seen == pytest.approx(run.metrics["train_acc"][at][0])
    hits = sum(run.metrics[f"{name}_acc"][at][0] * sizes[name] for name in ("val", "test"))
    assert unseen == pytest.approx(hits / (sizes["val"] + sizes["test"]))
    assert len(figure_one.answers(run, [10, 20, 50]).axes) == 3


def test_figure_one_has_a_column_per_setting(cell: list[Run]) -> None:
    plots.style()
    paper, starter = figure_one.COLORS
    figure = figure_one.curves({"(a)": {paper: cell[2:]}, "(b)": {paper: cell[:2], starter: cell}})
    assert [axes.get_title(loc="left") for axes in figure.axes[:2]] == ["(a)", "(b)"] and len(figure.axes) == 6
    marks = [[line.get_marker() for line in axes.lines].count("o") for axes in figure.axes[:2]]
    assert marks == [1, 2 + 2 + 3 + 2]  # T_fit and T_grok of those that get there


def test_the_last_evaluation_of_a_cell(cell: list[Run]) -> None:
    for run, loss in zip(cell, (0.4, 0.1, 0.2, 0.3), strict=True):
        run.summary |= {"test_loss": loss}
    assert sweeps.finals(cell)["test_loss"] == [0.25, 0.1, 0.4]
    rows = sweeps.finals_table({"all": cell}, "cell").data.splitlines()
    assert rows[2].startswith("| all |") and "0.25 (0.1–0.4)" in rows[2]
    assert rows[2].endswith("| 10 | 40 |") and len({row.count("|") for row in rows}) == 1


def median_of_trials(solved: list[int | None]) -> float:
    return float(np.median([np.inf if step is None else step for step in solved]))


def test_what_is_reported_was_the_best_of_its_trials() -> None:
    told = sweeps.trials([stored("methods_tuning", config) for config in ablation.methods_tuning()])
    for name, (method, settings) in ablation.METHODS.items():
        medians = {cell: median_of_trials(told.pop(0)["solved"]) for cell in settings}
        best = DELAYED.override(method | settings[ablation.BEST[name]])
        assert medians[ablation.BEST[name]] == min(medians.values()), name
        assert {run.override({"seed": 0}) for run in ablation.methods()} >= {best}
    for tuning, used in (("recipe_tuning", ablation.RECIPE), ("add_sub_characters_tuning", experiments.DIGITS)):
        told = sweeps.trials([stored(tuning, config) for config in experiments.ALL[tuning]()])
        best = min(told, key=lambda trial: (median_of_trials(trial["solved"]), -min(trial["val_acc"])))
        assert best["setting"].items() <= {name.partition(".")[2]: x for name, x in used.flat().items()}.items()
    for used in ("methods", "recipe", "add_sub", "add_sub_characters"):
        tuning = f"{used}_tuning"
        seeds = [{run.seed for run in experiments.ALL[name]()} for name in (tuning, used)]
        assert not seeds[0] & seeds[1], "tuned on a seed that is reported"


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
