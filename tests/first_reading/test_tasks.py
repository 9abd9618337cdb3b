"""The sentence, and the equations with their splits."""

import pytest
import torch
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import tasks
from lib.config import DataConfig
from lib.data import IGNORE
from lib.support.errors import UserError

RULES = {  # (p, operation) -> whether c is right, and for which pairs there is an equation
    **{(p, "+"): (lambda a, b, c, p: c == (a + b) % p, lambda a, b: True) for p in (7, 12, 31)},
    **{(p, "-"): (lambda a, b, c, p: c == (a - b) % p, lambda a, b: True) for p in (11, 96)},
    **{(p, "/"): (lambda a, b, c, p: c * b % p == a, lambda a, b: b > 0) for p in (7, 31, 97)},
    (97, "a**3+a*b**2+b"): (lambda a, b, c, p: c == (a**3 + a * b**2 + b) % p, lambda a, b: True),
    (12, "a/b"): (lambda a, b, c, p: c * b % p == a, lambda a, b: b in (1, 5, 7, 11)),
    (31, "a/b if b%2==1 else a-b"): (
        lambda a, b, c, p: c * b % p == a if b % 2 else c == (a - b) % p,
        lambda a, b: True,
    ),
    (120, "s5(a*b)"): (lambda a, b, c, p: 0 <= c < 120, lambda a, b: True),
}
CONDITIONS = {
    "": lambda a, b, c: True,
    "b <= 4": lambda a, b, c: b <= 4,
    "a <= b": lambda a, b, c: a <= b,
    "(a+b) % 2 == 0": lambda a, b, c: (a + b) % 2 == 0,
    "c < 5": lambda a, b, c: c < 5,
}


@settings(max_examples=30)
@given(
    st.sampled_from(list(RULES)),
    *(st.sampled_from(list(CONDITIONS)), st.floats(0.1, 0.7), st.floats(0.05, 0.2), st.integers(0, 99)),
)
def test_splits_are_disjoint_complete_and_right(
    rule: tuple[int, str], where: str, train: float, val: float, seed: int
) -> None:
    p, operation = rule
    right, there = RULES[rule]
    config = DataConfig(
        **{"operation": operation, "p": p, "train_where": where, "split_seed": seed},
        **{"train_fraction": train, "val_fraction": val},
    )
    parts = tasks.split(config)
    rows = [tuple(row) for part in parts.values() for row in part.tolist()]
    assert sorted(row[:2] for row in rows) == [(a, b) for a in range(p) for b in range(p) if there(a, b)]
    assert all(right(*row, p) for row in rows)
    admitted = sum(CONDITIONS[where](*row) for row in rows)
    assert all(CONDITIONS[where](*row) for row in parts["train"].tolist())
    assert len(parts["train"]) == round(train * admitted) and len(parts["val"]) == round(val * len(rows))


def test_what_is_held_out_is_drawn_from_all_of_it() -> None:
    """Of a train split by a condition nothing is left to chance; val is a random part of the rest."""
    config = DataConfig(train_where="b <= 48", train_fraction=1)
    parts = tasks.split(config)
    assert {name: len(part) for name, part in parts.items()} == {"train": 97 * 48, "val": 931, "test": 3725}
    assert set(parts["train"][:, 1]) == set(range(1, 49))
    for name in ("val", "test"):
        assert set(parts[name][:, 1]) == set(range(49, 97)) and set(parts[name][:, 0]) == set(range(97))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train_fraction": 1e-9}, ["data.train_fraction = 1e-09", "train 0, val 931, test 8,381"]),
        ({"val_fraction": 1e-9}, ["no split is empty", "val 0"]),
        ({"train_where": "b > 200"}, ["data.train_where = 'b > 200'", "train 0"]),
        ({"train_where": "b > 0", "train_fraction": 1}, ["data.train_where = 'b > 0'", "val 0, test 0"]),
    ],
)
def test_no_split_may_be_empty(changes: dict[str, object], words: list[str]) -> None:
    with pytest.raises(UserError) as error:
        tasks.split(DataConfig(**changes))
    assert all(word in str(error.value) for word in words)


def test_noisy_labels_are_wrong_and_so_many_and_the_other_splits_right() -> None:
    config = DataConfig(p=31, label_noise=0.2)
    shown, true, data = tasks.trained_on(config), tasks.split(config), tasks.load_equations(config)
    n = round(0.2 * len(shown))
    off = (shown - true["train"]) % 31
    assert (off[:, :2] == 0).all() and (off[:n, 2] > 0).all() and (off[n:, 2] == 0).all()
    assert len(set(off[:n, 2].tolist())) > 20  # of the 30 other answers
    assert data.splits["train"].targets[:, -1].tolist() == shown[:, 2].tolist()
    assert data.splits["test"].targets[:, -1].tolist() == true["test"][:, 2].tolist()
    assert (tasks.trained_on(config) == shown).all()
    again = DataConfig(p=31, label_noise=0.2, split_seed=1)
    assert ((tasks.trained_on(again) - tasks.split(again)["train"])[:n, 2] % 31 != off[:n, 2]).any()


def test_b_with_tokens_of_its_own() -> None:
    plain, own = (tasks.load_equations(DataConfig(operation="a*b", p=6, own_b=own)) for own in (False, True))
    assert own.tokenizer.vocab_size == plain.tokenizer.vocab_size + 6 == 14
    for name in plain.splits:
        expected = plain.splits[name].tokens.clone()
        expected[:, 2] += 8
        assert torch.equal(own.splits[name].tokens, expected)
        assert torch.equal(own.splits[name].targets, plain.splits[name].targets)


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
    assert len(rows) == 144 == len(tasks.equations("-", 12)) and (rows[:, :2] > 0).all()
    assert sum(map(len, tasks.split(DataConfig(operation="+", p=13, skip_zero=True)).values())) == 12 * 13
