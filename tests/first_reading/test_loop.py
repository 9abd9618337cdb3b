"""The training loop by itself: no folder, no process, no resuming."""

from dataclasses import replace

import pytest
import torch
from conftest import digits

from lib.config import RunConfig
from lib.data import IGNORE, Dataset
from lib.loop import Diverged, Loop
from lib.model import Transformer
from lib.objective import Objective, Row
from lib.optim import Optimizer
from lib.tasks import load_equations


def loop_of(config: RunConfig, data: Dataset | None = None, **hooks: object) -> Loop:
    """As lib/__init__.py's reading order has it: config, data, model, optimiser, objective, loop."""
    data = data or load_equations(config.data)
    torch.manual_seed(config.seed)
    model = Transformer(config.model, data.tokenizer.vocab_size)
    objective = Objective(model, data.scoring, config.train)
    return Loop(objective, data, Optimizer(model, config), config.train, config.seed, **hooks)


def test_it_trains_and_measures_when_the_config_says(tiny: RunConfig) -> None:
    shown: list[Row] = []
    loop = loop_of(tiny, on_evaluation=shown.append)
    loop.run()
    assert shown == loop.rows and [row["step"] for row in shown] == [0, 10, 20, 30, 40, 50, 60]
    assert shown[-1]["train_loss"] < shown[0]["train_loss"] - 0.5
    assert shown[0]["grad_norm"] is None and all(row["grad_norm"] > 0 for row in shown[1:])
    assert loop.clock.seconds > 0 and loop.losses == []


def test_it_stops_between_two_steps_and_goes_on_to_the_same_end(tiny: RunConfig) -> None:
    whole = loop_of(tiny)
    whole.run()

    def stop() -> None:
        if parts.step in (7, 30):
            raise InterruptedError

    parts = loop_of(tiny, on_step=stop)
    for _ in range(2):
        with pytest.raises(InterruptedError):
            parts.run()
    parts.run()
    assert parts.rows == whole.rows
    for p, q in zip(parts.objective.parameters(), whole.objective.parameters(), strict=True):
        assert torch.equal(p, q)


def test_divergence_names_the_step(tiny: RunConfig) -> None:
    loop = loop_of(tiny)
    take_step = loop.take_step

    def overflow() -> None:
        take_step()
        if loop.step == 14:
            loop.losses[-1] = loop.losses[-1] + torch.inf

    loop.take_step = overflow
    with pytest.raises(Diverged) as diverged:
        loop.run()
    assert diverged.value.step == 14 and loop.rows[-1]["step"] == 10


def test_it_ends_when_the_held_out_splits_are_solved(tiny: RunConfig) -> None:
    config = tiny.override({"train.stop_at": 1e-9, "train.go_on": 1.6})
    loop = loop_of(config)
    loop.run()
    solved = next(row["step"] for row in loop.rows if row["val_acc"] and row["test_acc"])
    assert loop.step == loop.rows[-1]["step"] == loop.last_step < 60
    assert loop.step == max(round(1.6 * solved), solved + 20), "three evaluations make it last"


def test_parts_count_by_what_is_scored_in_them(tiny: RunConfig) -> None:
    loop = loop_of(replace(tiny, data=digits("+", 13)))
    parts = [loop.data.splits["train"][rows] for rows in torch.arange(16).chunk(4)]
    scored = [int((part.targets != IGNORE).sum()) for part in parts]
    assert len(set(scored)) > 1, "the parts are meant to differ"
    assert torch.stack(loop.shares(parts)).tolist() == pytest.approx([n / sum(scored) for n in scored])
    assert loop.shares(parts[:1]) == [1.0]
