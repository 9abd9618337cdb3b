"""Equations as a user types them."""

from pathlib import Path

import pytest
import torch

from lib.analysis.equations import describe_answer, parse_equation, random_equations
from lib.config import DataConfig, RunConfig
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


def test_an_operation_without_a_sign_is_asked_by_o() -> None:
    data = DataConfig(operation="a/b", p=12)
    assert parse_equation(data, " 11 o 5 = ") == (11, 5)
    for prompt, words in (("11/5=", ["knows o only", "where o is a/b"]), ("11o4=", ["nothing can be divided"])):
        with pytest.raises(UserError) as error:
            parse_equation(data, prompt)
        assert all(word in str(error.value) for word in words)
    told = describe_answer(RunConfig(data=data), 11, 5, torch.eye(12)[7])
    assert told.startswith("11o5=7   P 1.0000   right")
    assert all(parse_equation(data, f"{a}o{b}") == (a, b) for a, b in random_equations(data, 20, 0))
