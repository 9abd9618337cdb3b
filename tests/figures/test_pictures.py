"""What the figures show, read back from their axes."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes

from lib.config import ModelConfig, RunConfig
from lib.figures import ablation as ablation_figures
from lib.figures import grokking as figure_one
from lib.figures import stills
from lib.figures.style import style
from lib.language import networks
from lib.language.gpt1 import GPT1Tokenizer
from lib.language.tokenizers import BytePairTokenizer
from lib.runs.run import Run
from lib.sampling import encode_prompt, generate, sample
from lib.tasks import split
from lib.tokenizer import Tokenizer
from lib.training.trainer import train

BYTES = BytePairTokenizer.of([bytes([byte]) for byte in range(0xC0)] + [bytes([0xD0, 0xBC]), bytes([0xD0])])
WORDS = GPT1Tokenizer(("<unk>", "a", "b", "a</w>", "b</w>", "ab</w>"), ("a b</w>",))


@pytest.mark.parametrize(("tokenizer", "prompt"), [(BYTES, "м"), (BYTES, ""), (WORDS, "ab b"), (WORDS, "")])
def test_what_is_spelled_is_what_is_sampled(tokenizer: Tokenizer, prompt: str) -> None:
    torch.manual_seed(0)
    sizes = ModelConfig(n_layers=1, n_heads=1, d_model=8, d_ff=8, context_length=32)
    model = networks.make(sizes, tokenizer.vocab_size)
    for seed in range(3):
        options = {"n_tokens": 25, "seed": seed}
        spelled = stills.spell(model, tokenizer, prompt, **options)
        [text] = sample(model, tokenizer, prompt, **options)
        assert prompt + "".join(piece for piece, _ in spelled if piece != "<eos>") == text
        given = torch.tensor([encode_prompt(model, tokenizer, prompt)])
        new = generate(model, given, eos=tokenizer.eos, **options)
        assert math.prod(p for _, p in spelled) == pytest.approx(math.prod(float(p) for _, p in new), rel=1e-5)
        assert all(piece and p > 0 for piece, p in spelled)


def test_a_sample_is_drawn_as_it_is(tmp_path: Path) -> None:
    figure = stills.spelled("$a_$", [("<", 0.5), (" $_$", 0.5), ("\n", 0.1), ("<eos>", 1.0)])
    figure.savefig(tmp_path / "spelled.png")  # neither a formula nor an error
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["<", "␣$_$", "⏎", "eos"]


def marks(axes: Axes) -> dict[str, int]:
    """How many there are of each kind of mark."""
    return {
        marks.get_label(): len(marks.get_offsets())
        for marks in axes.collections
        if marks.get_label() in ablation_figures.MARKS
    }


def test_every_run_has_its_mark(cell: list[Run]) -> None:
    style()
    cells = {"all": cell, "none": cell[2:]}
    figure = ablation_figures.factor(cells, "made up")
    assert marks(figure.axes[1]) == {"T_fit": 3 + 1, "T_grok (bar: median)": 2, "not by then": 2 + 2}
    assert [text.get_text() for text in figure.axes[1].get_yticklabels()] == ["all", "none"]
    both = ablation_figures.factor(cells, "made up", {"all": cell}).axes[1]
    assert [text.get_text() for text in both.get_yticklabels()] == ["all", "none", "all, 2 layers"]
    assert marks(both)["not by then"] == 4 + 2


def test_the_summary_has_a_panel_for_each_network(cell: list[Run]) -> None:
    one = {"baseline": {"baseline": cell}, "factor": {"all": cell, "none": cell[2:]}}
    two = {"baseline": {"baseline": cell[:2]}, "factor": {"all": cell, "other": cell[2:]}}
    figure = ablation_figures.summary({"one": one, "two": two})
    for axes, censored_runs, median in zip(figure.axes, (2 + 2 + 2, 2 + 2), (40, 20), strict=True):
        assert marks(axes)["not by then"] == censored_runs
        assert axes.lines[-1].get_xdata()[0] == median  # the baseline's, all the way down
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["baseline", "all", "none", "other"]


def test_the_middle_run() -> None:
    class Fake:
        def __init__(self, t_grok: int | None, test_acc: float) -> None:
            self.t_grok, self.summary = t_grok, {"test_acc": test_acc}

    runs = [Fake(None, 0.2), Fake(30, 1.0), Fake(None, 0.9), Fake(10, 1.0), Fake(20, 1.0)]
    assert ablation_figures.middle(runs) is runs[1] and ablation_figures.middle(runs[:3]) is runs[2]


def test_the_table_of_answers(tiny: RunConfig, tmp_path: Path) -> None:
    train(tiny.override({"train.keep_answers": True}), tmp_path)
    run = Run(tmp_path)
    cells, (seen, unseen) = figure_one.table(run, 50)
    at = run.metrics["step"] == 50
    sizes = {name: len(rows) for name, rows in split(tiny.data).items()}
    assert np.bincount(cells.ravel(), minlength=5)[[1, 4]].tolist() == [round(seen * sizes["train"]), 11]
    assert seen == pytest.approx(run.metrics["train_acc"][at][0])
    hits = sum(run.metrics[f"{name}_acc"][at][0] * sizes[name] for name in ("val", "test"))
    assert unseen == pytest.approx(hits / (sizes["val"] + sizes["test"]))
    assert len(figure_one.answer_tables(run, [10, 20, 50]).axes) == 3


def test_figure_one_has_a_column_per_setting(cell: list[Run]) -> None:
    style()
    paper, starter = figure_one.COLORS
    figure = figure_one.curves({"(a)": {paper: cell[2:]}, "(b)": {paper: cell[:2], starter: cell}})
    assert [axes.get_title(loc="left") for axes in figure.axes[:2]] == ["(a)", "(b)"] and len(figure.axes) == 6
    marked = [[line.get_xdata() for line in axes.lines if line.get_marker() == "o"] for axes in figure.axes[:2]]
    reached = [int(np.isfinite(np.concatenate(steps)).sum()) for steps in marked]
    assert reached == [1, 2 + 2 + 3 + 2]  # T_fit and T_grok of those that get there


def test_a_map_of_steps_has_a_cell_per_row_and_column_in_words() -> None:
    ablation_figures.steps_map({"one": {"1": [None]}}, "decay").draw_without_rendering()  # no run gets there
    cells = {"1": [150, 140, 160], "2": [150, 150, None, 90], "3": [None, 7, None], "4": [None, None]}
    [axes] = ablation_figures.steps_map({"one": cells, "other": {key: [2, 4] for key in cells}}, "decay", "rate").axes
    assert [text.get_text() for text in axes.texts] == ["150", "150 (3/4)", "1/3", "–", "2", "2", "2", "2"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one", "other"]


def test_who_waits_falls_by_each_run_that_groks(cell: list[Run]) -> None:
    [axes] = ablation_figures.waiting({"mine": cell}).axes
    [line] = axes.lines
    told = sorted(run.t_grok for run in cell if run.t_grok is not None)
    assert line.get_xdata().tolist() == [told[0], *sorted(set(told))]
    shares = [1, *(1 - sum(other <= step for other in told) / len(cell) for step in sorted(set(told)))]
    assert line.get_ydata().tolist() == pytest.approx(shares)
