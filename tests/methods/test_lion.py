"""Lion and SignSGD, step by step."""

import pytest
import torch

from lib.config import OptimConfig
from lib.methods import lion


@pytest.mark.parametrize(("name", "betas"), [("lion", (0.9, 0.5)), ("signsgd", (0.0, 0.0))])
def test_each_step_is_the_sign_of_an_average(name: str, betas: tuple[float, float]) -> None:
    w = torch.nn.Parameter(torch.tensor([[2.0, 1.0]]))
    config = OptimConfig(name=name, lr=0.1, beta1=0.9, beta2=0.5)
    optimizer = lion.make(config, [{"params": [w], "weight_decay": 0.25}])
    weights, mean = [2.0, 1.0], [0.0, 0.0]
    for gradient in ([1.0, -3.0], [-0.5, 1.0], [0.1, 0.0], [-4.0, 2.0]):
        w.grad = torch.tensor([gradient])
        optimizer.step()
        for i, g in enumerate(gradient):
            average = betas[0] * mean[i] + (1 - betas[0]) * g
            weights[i] = (1 - 0.1 * 0.25) * weights[i] - 0.1 * ((average > 0) - (average < 0))
            mean[i] = betas[1] * mean[i] + (1 - betas[1]) * g
        assert w.tolist()[0] == pytest.approx(weights, rel=1e-6)
