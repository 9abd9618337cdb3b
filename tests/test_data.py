import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import arithmetic, datasets, text
from lib.config import DataConfig, RunConfig
from lib.data import IGNORE, batch_rows
from lib.fields import UserError
from lib.machine import ROOT
from lib.tokenizer import CharacterTokenizer, NumberTokenizer, from_dict, to_dict

PRIMES = [3, 5, 7, 11, 13, 31, 97, 113]


@given(st.text(min_size=1), st.data())
def test_character_tokenizer_round_trips(alphabet: str, data: st.DataObject) -> None:
    tokenizer = CharacterTokenizer.of(alphabet)
    written = data.draw(st.text(alphabet=sorted(set(alphabet))))
    ids = tokenizer.encode(written)
    assert tokenizer.decode(ids) == written
    assert all(3 <= i < tokenizer.vocab_size for i in ids)
    assert from_dict(to_dict(tokenizer)) == tokenizer


@given(st.sampled_from(PRIMES), st.sampled_from("+-/"), st.data())
def test_number_tokenizer_round_trips(p: int, operation: str, data: st.DataObject) -> None:
    tokenizer = NumberTokenizer(p, operation)
    a, b, c = (data.draw(st.integers(0, p - 1)) for _ in range(3))
    ids = tokenizer.encode(f"{a}{operation}{b}={c}")
    assert ids == [a, p, b, p + 1, c] and max(ids) < tokenizer.vocab_size
    assert tokenizer.decode(ids) == f"{a}{operation}{b}={c}"
    assert tokenizer.encode(f" {a} {operation} {b}=") == ids[:4]
    assert from_dict(to_dict(tokenizer)) == tokenizer


@pytest.mark.parametrize("written", ["12*5=", "97/5=", "x", "-1/5=", "٣/5="])
def test_tokenizers_refuse_what_they_do_not_know(written: str) -> None:
    with pytest.raises(UserError, match="must be"):
        NumberTokenizer(97, "/").encode(written)
    with pytest.raises(UserError, match="must be one of"):
        CharacterTokenizer.of("hello").encode(written)


@settings(deadline=None)
@given(
    st.sampled_from(PRIMES[2:]),
    st.sampled_from("+-/"),
    st.floats(0.1, 0.7),
    st.floats(0.05, 0.2),
    st.integers(0, 99),
)
def test_splits_are_disjoint_complete_and_right(p: int, operation: str, train: float, val: float, seed: int) -> None:
    config = DataConfig(operation=operation, p=p, train_fraction=train, val_fraction=val, split_seed=seed)
    parts = arithmetic.split(config)
    assert {name: len(rows) for name, rows in parts.items()} == config.split_sizes()
    pairs = [tuple(row) for rows in parts.values() for row in rows[:, :2].tolist()]
    expected = {(a, b) for a in range(p) for b in range(p) if operation != "/" or b}
    assert len(pairs) == len(set(pairs)) and set(pairs) == expected
    for a, b, c in (row for rows in parts.values() for row in rows.tolist()):
        assert 0 <= c < p
        assert {"+": c - a - b, "-": c - a + b, "/": c * b - a}[operation] % p == 0


def test_split_depends_on_its_seed_alone() -> None:
    first, again, other = (arithmetic.split(DataConfig(split_seed=seed))["train"] for seed in (0, 0, 1))
    assert (first == again).all() and not (first == other).all()


def test_splits_are_those_that_are_written_down() -> None:
    """report/splits/ is the data that every stored run was trained on."""
    folder = f"{ROOT}/report/splits/"
    for operation, name in (("+", "add"), ("-", "sub"), ("/", "div")):
        for p in (97, 113):
            for split, rows in arithmetic.split(DataConfig(operation=operation, p=p)).items():
                with open(f"{folder}{name}{p}_{split}.txt") as file:
                    assert file.read().splitlines() == arithmetic.written(rows, operation)


def test_number_batches_score_the_answer_alone() -> None:
    data = arithmetic.load(DataConfig(p=7))
    rows = arithmetic.split(DataConfig(p=7))["train"]
    batch = data.splits["train"]
    assert batch.lengths is None and data.scoring == "last"
    assert batch.tokens[:, [0, 2]].tolist() == rows[:, :2].tolist()
    assert batch.targets[:, -1].tolist() == rows[:, 2].tolist()
    assert (batch.targets[:, :-1] == IGNORE).all()


def test_character_batches_are_padded_and_score_the_digits_and_the_end() -> None:
    data = arithmetic.load(DataConfig(p=13, operation="+", tokenizer="character"))
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
    data = text.load(DataConfig(task="text", text="abcd", skip_loss=3))
    (tokens,), (targets,) = data.splits["train"].tokens, data.splits["train"].targets
    assert data.tokenizer.decode(tokens.tolist()) == "<bos>abcd"
    assert targets.tolist() == [IGNORE] * 3 + [*data.tokenizer.encode("d"), data.tokenizer.eos]


def test_loss_floor_is_the_entropy_that_the_context_leaves() -> None:
    whole = text.load(DataConfig(task="text", text="abab")).splits["train"]
    assert text.loss_floor(whole) == 0
    # <bos> a b a b <eos>: of the five predictions, a is followed by b twice, b once by a and once by <eos>
    pairs = text.load(DataConfig(task="text", text="abab", window=1)).splits["train"]
    assert text.loss_floor(pairs) == pytest.approx(2 * torch.log(torch.tensor(2.0)).item() / 5)


def test_sequences_longer_than_the_context_are_refused() -> None:
    with pytest.raises(UserError, match=r"model\.context_length = 3: must be at least 4"):
        datasets.load_data(RunConfig().override({"model.context_length": 3}))


@given(st.integers(1, 50), st.integers(1, 60), st.integers(0, 5))
def test_batches_see_every_row_equally_often(n: int, batch_size: int, seed: int) -> None:
    """After s steps no row has been seen more than once more often than another; none twice within an epoch."""
    counts = torch.zeros(n, dtype=torch.int64)
    for step in range(12):
        rows = batch_rows(n, batch_size, step, seed)
        assert len(rows) == batch_size
        counts += torch.bincount(rows, minlength=n)
        assert counts.max() - counts.min() <= 1


def test_without_zero_division_is_as_large_as_subtraction_of_logarithms() -> None:
    config = DataConfig(operation="/", p=13, skip_zero=True)
    rows = torch.tensor([row for part in arithmetic.split(config).values() for row in part.tolist()])
    assert len(rows) == config.n_equations == 144 == DataConfig(operation="-", p=12).n_equations
    assert (rows[:, :2] > 0).all() and sum(config.split_sizes().values()) == 144
    assert DataConfig(operation="+", p=13, skip_zero=True).n_equations == 12 * 13
