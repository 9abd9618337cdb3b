"""The runs of notebook 10: seeds, splits of their own, and fair comparisons."""

import pytest

from lib import tasks
from lib.experiments import rules
from lib.experiments.ablation import CLAIM
from lib.experiments.catalogue import GRID, RULES, STORED
from lib.experiments.presets import Changes

CELLS: dict[str, Changes] = {
    **rules.DIVISORS,
    **{f"parity, {name}": changes for name, changes in rules.PARITY.items()},
    **rules.MIRRORS,
    **rules.BATCHES,
    **{f"{share:.0%} wrong": changes for share, changes in rules.NOISE.items()},
    **{f"{name}, {share:.0%}": rules.rule(name, share) for name in rules.OPERATIONS for share in rules.SHARES},
}


def test_every_cell_has_ten_seeds_that_nothing_else_has_each_with_its_split() -> None:
    for name, changes in CELLS.items():
        runs = rules.cell(changes)
        assert len({run.seed for run in runs}) == len(runs) == CLAIM >= 10, name
        assert all(run.data.split_seed == run.seed for run in runs)
    bets = (RULES | GRID).values()
    others = {run.seed for name, make in STORED.items() if name not in RULES for run in make()}
    assert not others & {run.seed for make in bets for run in make()}
    assert sum(len(make()) for make in bets) >= CLAIM * len(CELLS) - 2 * CLAIM  # no cell is forgotten


@pytest.mark.parametrize("name", CELLS)
def test_every_cell_can_be_split(name: str) -> None:
    first = rules.cell(CELLS[name])[0]
    assert len(tasks.split(first.data)["train"]) >= first.train.batch_size


def sizes(name: str) -> tuple[int, int]:
    splits = tasks.split(rules.cell(CELLS[name])[0].data)
    return len(splits["train"]), len(splits["val"]) + len(splits["test"])


def test_what_is_compared_is_of_one_size() -> None:
    assert sizes("half, at random") == sizes("half, b ≤ 48") == sizes("… b in tokens of its own") == (4656, 4656)
    assert sizes("quarter, at random") == sizes("quarter, b ≤ 24") == (2328, 6984)
    assert sizes("parity, a + b even") == (4705, 4704) and sizes("parity, half, at random") == (4704, 4705)
    assert sizes("a + b, a ≤ b") == (4753, 4656)
