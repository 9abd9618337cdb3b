"""Equations as a user types them."""

from pathlib import Path

import pytest

from lib.analysis.equations import parse_equation
from lib.support.errors import UserError
from lib.training.weights import load_weights


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("12*5=", ["'12*5='", "must be a/b="]),
        ("97/5=", ["a = 97", "must be from 0 to 96"]),
        ("12/-5=", ["b = -5", "must be from 0 to 96"]),
        ("12+5=", ["this network knows / only", "such as 12/5="]),
        ("12/5/3=", ["must be a/b="]),
        ("12/0=", ["divided by 0", "no inverse modulo 97"]),
        ("=", ["must be a/b="]),
        ("1 2/5=", ["'1 2/5='", "must be a/b="]),
        ("1" * 5000 + "/5=", ["'… (5,003 characters)", "must be a/b="]),
        ("", ["must be a/b="]),
    ],
)
def test_prompts_that_are_no_equation(division: Path, prompt: str, words: list[str]) -> None:
    data = load_weights(division)[2].data
    with pytest.raises(UserError) as error:
        parse_equation(data, prompt)
    assert all(word in str(error.value) for word in words) and "\n" not in str(error.value)
