"""Characters and numbers: text to ids and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.language.tokenizers import from_dict, to_dict
from lib.support.errors import UserError
from lib.tokenizer import CharacterTokenizer, NumberTokenizer

PRIMES = [3, 5, 7, 11, 13, 31, 97, 113]


@given(st.text(min_size=1), st.data())
def test_character_tokenizer_round_trips(alphabet: str, data: st.DataObject) -> None:
    tokenizer = CharacterTokenizer.of(alphabet)
    written = data.draw(st.text(alphabet=sorted(set(alphabet))))
    ids = tokenizer.encode(written)
    assert tokenizer.decode(ids) == written
    assert all(3 <= i < tokenizer.vocab_size for i in ids)
    assert from_dict(to_dict(tokenizer)) == tokenizer


@given(st.sampled_from([*PRIMES, 96, 120]), st.sampled_from("+-/o"), st.booleans(), st.data())
def test_number_tokenizer_round_trips(p: int, operation: str, own_b: bool, data: st.DataObject) -> None:
    tokenizer = NumberTokenizer(p, operation, own_b)
    a, b, c = (data.draw(st.integers(0, p - 1)) for _ in range(3))
    ids = tokenizer.encode(f"{a}{operation}{b}={c}")
    assert ids == [a, p, b + own_b * (p + 2), p + 1, c] and max(ids) < tokenizer.vocab_size
    assert tokenizer.decode(ids) == f"{a}{operation}{b}={c}"
    assert tokenizer.encode(f" {a} {operation} {b}=") == ids[:4]
    assert from_dict(to_dict(tokenizer)) == tokenizer


@pytest.mark.parametrize("written", ["12*5=", "97/5=", "x", "-1/5=", "٣/5="])
def test_tokenizers_refuse_what_they_do_not_know(written: str) -> None:
    with pytest.raises(UserError, match="must be"):
        NumberTokenizer(97, "/").encode(written)
    with pytest.raises(UserError, match="must be one of"):
        CharacterTokenizer.of("hello").encode(written)
