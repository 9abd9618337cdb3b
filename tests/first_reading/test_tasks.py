"""The sentence, and the equations with their splits."""

import torch
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import tasks
from lib.config import DataConfig
from lib.data import IGNORE

PRIMES = [3, 5, 7, 11, 13, 31, 97, 113]


@settings(deadline=None)
@given(
    st.sampled_from(PRIMES[2:]), st.sampled_from("+-/"), st.floats(0.1, 0.7), st.floats(0.05, 0.2), st.integers(0, 99)
)
def test_splits_are_disjoint_complete_and_right(p: int, operation: str, train: float, val: float, seed: int) -> None:
    config = DataConfig(operation=operation, p=p, train_fraction=train, val_fraction=val, split_seed=seed)
    parts = tasks.split(config)
    assert {name: len(rows) for name, rows in parts.items()} == config.split_sizes()
    pairs = [tuple(row) for rows in parts.values() for row in rows[:, :2].tolist()]
    expected = {(a, b) for a in range(p) for b in range(p) if operation != "/" or b}
    assert len(pairs) == len(set(pairs)) and set(pairs) == expected
    for a, b, c in (row for rows in parts.values() for row in rows.tolist()):
        assert 0 <= c < p
        assert {"+": c - a - b, "-": c - a + b, "/": c * b - a}[operation] % p == 0


def test_split_depends_on_its_seed_alone() -> None:
    first, again, other = (tasks.split(DataConfig(split_seed=seed))["train"] for seed in (0, 0, 1))
    assert (first == again).all() and not (first == other).all()


def test_splits_are_those_that_are_written_down() -> None:
    """report/splits/ is the data that every stored run was trained on."""
    folder = f"{ROOT}/report/splits/"
    for operation, name in (("+", "add"), ("-", "sub"), ("/", "div")):
        for p in (97, 113):
            for split, rows in tasks.split(DataConfig(operation=operation, p=p)).items():
                with open(f"{folder}{name}{p}_{split}.txt") as file:
                    assert file.read().splitlines() == tasks.written(rows, operation)


def test_number_batches_score_the_answer_alone() -> None:
    data = tasks.load_equations(DataConfig(p=7))
    rows = tasks.split(DataConfig(p=7))["train"]
    batch = data.splits["train"]
    assert batch.lengths is None and data.scoring == "last"
    assert batch.tokens[:, [0, 2]].tolist() == rows[:, :2].tolist()
    assert batch.targets[:, -1].tolist() == rows[:, 2].tolist()
    assert (batch.targets[:, :-1] == IGNORE).all()


def test_character_batches_are_padded_and_score_the_digits_and_the_end() -> None:
    data = tasks.load_equations(DataConfig(p=13, operation="+", tokenizer="character"))
    batch, tokenizer = data.splits["train"], data.tokenizer
    assert batch.lengths is not None and data.scoring == "few"
    for tokens, targets, length in zip(*(part.tolist() for part in batch), strict=True):
        asked, _, answer = tokenizer.decode(tokens[:length]).partition("=")
        a, b = map(int, asked.split("+"))
        scored = [t for t in targets if t != IGNORE]
        assert int(answer) == (a + b) % 13
        assert tokenizer.decode(scored) == f"{answer}<eos>"
        assert tokens[length:] == [tokenizer.pad] * (len(tokens) - length)
        assert targets[length:] == [IGNORE] * (len(tokens) - length)


def test_sentence_and_its_loss_mask() -> None:
    data = tasks.load_sentence(DataConfig(task="text", text="abcd", skip_loss=3))
    (tokens,), (targets,) = data.splits["train"].tokens, data.splits["train"].targets
    assert data.tokenizer.decode(tokens.tolist()) == "<bos>abcd"
    assert targets.tolist() == [IGNORE] * 3 + [*data.tokenizer.encode("d"), data.tokenizer.eos]


def test_without_zero_division_is_as_large_as_subtraction_of_logarithms() -> None:
    config = DataConfig(operation="/", p=13, skip_zero=True)
    rows = torch.tensor([row for part in tasks.split(config).values() for row in part.tolist()])
    assert len(rows) == config.n_equations == 144 == DataConfig(operation="-", p=12).n_equations
    assert (rows[:, :2] > 0).all() and sum(config.split_sizes().values()) == 144
    assert DataConfig(operation="+", p=13, skip_zero=True).n_equations == 12 * 13
