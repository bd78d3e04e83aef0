"""BCM: where it settles, where it cycles, and the bound between."""

import pytest
import torch
from torch import Tensor

from cell_train.planning.bcm_stability import smallest_stable_theta_rate
from cell_train.plasticity.bcm import BcmRule, bcm


def neuron(eta: float, alpha: float, steps: int = 40_000) -> Tensor:
    """Output of one linear neuron y = w x, x = 1, learning tick by tick; the last 2,000 values."""
    w, theta = torch.tensor([0.8], dtype=torch.float64), torch.tensor([0.9], dtype=torch.float64)
    rule = BcmRule(learning_rate=eta, theta_rate=alpha, target_activity=1.0)
    outputs = []
    for _ in range(steps):
        y = w.clone()
        # The source is constantly 1: its inner product with the drive is the drive.
        change, theta = bcm(y[:, None], theta, rule, lambda at_cell, _: at_cell.sum(1))
        w = (w + change).clamp(0, 10)
        outputs.append(float(y))
    return torch.tensor(outputs[-2000:])


def test_a_threshold_fast_enough_settles_at_the_target() -> None:
    assert neuron(0.01, 0.0105).sub(1).abs().max() < 1e-3


def test_a_threshold_too_slow_cycles() -> None:
    outputs = neuron(0.01, 0.0095)
    assert outputs.max() - outputs.min() > 0.1


@pytest.mark.parametrize("eta", [0.05, 0.2, 0.4])
def test_the_discrete_bound_separates_the_two(eta: float) -> None:
    bound = smallest_stable_theta_rate(eta, target_activity=1.0, pre_power=1.0)
    assert bound == pytest.approx(eta / (1 - eta))
    assert neuron(eta, 1.03 * bound, 8000).sub(1).abs().max() < 1e-2
    beyond = neuron(eta, 0.97 * bound, 8000)
    assert beyond.max() - beyond.min() > 0.05


def test_no_threshold_rate_is_fast_enough_for_b_of_one() -> None:
    assert smallest_stable_theta_rate(0.5, target_activity=1.0, pre_power=2.0) == float("inf")


def test_each_tick_uses_the_threshold_before_it() -> None:
    activity = torch.tensor([[0.5, 1.0]])
    rule = BcmRule(1.0, 0.1, 0.5)
    change, theta = bcm(activity, torch.tensor([0.2]), rule, lambda a, b: (a * b).sum(1))
    second = 0.2 + 0.1 * (0.5**2 / 0.5 - 0.2)
    expected = 0.5 * (0.5 - 0.2) * 0.5 + 1.0 * (1.0 - second) * 1.0
    assert float(change) == pytest.approx(expected)
    assert float(theta) == pytest.approx(second + 0.1 * (1.0 / 0.5 - second))
