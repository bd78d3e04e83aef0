"""Homeostatic scaling: its running mean, its sign, and that it brings a cell to its target."""

import pytest
import torch

from cell_train.plasticity.homeostasis import ScalingRule, scaling


def test_the_mean_follows_its_recurrence_and_ratios_stay() -> None:
    activity = torch.rand(3, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rule = ScalingRule(rate=0.1, mean_rate=0.05, target_activity=0.4)
    strength = torch.tensor([0.5, 1.0, 2.0, 1.5], dtype=torch.float64)
    cell = torch.tensor([0, 0, 1, 2])
    start = torch.tensor([0.1, 0.4, 0.9], dtype=torch.float64)
    change, mean = scaling(activity, start, strength, cell, rule)
    expected = start
    for tick in range(9):
        expected = expected + 0.05 * (activity[:, tick] - expected)
    torch.testing.assert_close(mean, expected)
    torch.testing.assert_close(change, 0.1 * strength * (1 - expected[cell] / 0.4))
    assert float(change[0] / strength[0]) == pytest.approx(float(change[1] / strength[1]))


@pytest.mark.parametrize("drive", [0.1, 3.0])
def test_it_brings_a_linear_neuron_to_its_target(drive: float) -> None:
    rule = ScalingRule(rate=0.002, mean_rate=0.05, target_activity=0.2)
    strength, cell = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.long)
    mean = None
    for _ in range(4000):
        activity = (drive * strength)[:, None].expand(1, 4)
        change, mean = scaling(activity, mean, strength, cell, rule)
        strength = strength + change
    assert float(drive * strength) == pytest.approx(0.2, rel=1e-3)
