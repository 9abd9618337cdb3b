"""Loss and accuracy, when they are measured, and the milestones."""

import numpy as np
import torch.nn.functional as F
from conftest import VOCAB, build

from lib.config import RunConfig
from lib.data import IGNORE, collate
from lib.objective import scored_logits, steps_to_fit, steps_to_grok


def test_unscored_targets_have_no_gradient() -> None:
    """Through the loop's own way from sequences to loss: the gradient at the logits of the first 3 targets is zero."""
    batch = collate([[1, 5, 6, 7, 8, 9, 2], [1, 5, 6, 7, 2]], [3, 3], pad=0)
    logits, targets = scored_logits(build(), batch, "most")
    logits.retain_grad()
    F.cross_entropy(logits, targets, ignore_index=IGNORE).backward()
    per_token = logits.grad.view(*batch.tokens.shape, VOCAB).abs().sum(-1)
    assert (per_token > 0).tolist() == [[False] * 3 + [True] * 3, [False] * 3 + [True] + [False] * 2]


def test_evaluations_are_log_spaced(tiny: RunConfig) -> None:
    steps = sorted(tiny.override({"train.max_steps": 1000, "train.eval_growth": 1.1}).train.evaluation_steps())
    assert steps[:3] == [0, 10, 20] and steps[-1] == 1000
    gaps = np.diff(steps[:-1])
    assert (gaps >= 10).all() and (np.diff(gaps) >= 0).all() and gaps[-1] > 50


def test_milestones() -> None:
    steps, accuracy = [0, 10, 20, 30, 40, 50, 60], [0, 1, 1, 0.5, 0.99, 1, 1]
    assert steps_to_fit(steps, accuracy) == 10
    assert steps_to_grok(steps, accuracy) == 40
    assert steps_to_grok(steps[:6], accuracy[:6]) is None
