"""The annotated shapes are checked while the tests run; the code itself pays nothing for them."""

from importlib import import_module

import pytest
import torch
from checked_shapes import CHECKED
from conftest import VOCAB, build
from jaxtyping import TypeCheckError

from lib.data import batch_rows
from lib.sampling import generate, next_logits


@pytest.mark.parametrize("name", CHECKED)
def test_the_first_reading_is_checked(name: str) -> None:
    loader = import_module(f"lib.{name}").__loader__
    assert type(loader).__module__.startswith("jaxtyping"), "imported before checked_shapes"


def test_a_wrong_shape_or_type_is_refused(tokens: torch.Tensor) -> None:
    model = build()
    assert model(tokens, torch.full((6,), 9)).shape == (6, 9, VOCAB)
    with pytest.raises(TypeCheckError, match="'lengths'"):
        model(tokens, torch.full((5,), 9))  # as many as there are sequences
    with pytest.raises(TypeCheckError, match="'tokens'"):
        model(tokens.float())
    with pytest.raises(TypeCheckError, match="'tokens'"):
        next(generate(model, tokens[0], 1))
    with pytest.raises(TypeCheckError, match="'step'"):
        batch_rows(10, 3, "first", seed=0)


def test_a_wrong_result_is_refused(tokens: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build()
    monkeypatch.setattr(model, "states", lambda *_: torch.zeros(6, 9, model.config.d_model))
    with pytest.raises(TypeCheckError, match=r"return value of lib\.sampling\.next_logits"):
        next_logits(model, tokens)  # logits of all tokens, where those of the last one are promised
