"""What a GPU computes at once is what a CPU computes tick by tick, and step by step."""

import pytest
import torch
from torch import Tensor

from cell_train.plasticity import competition, stdp
from cell_train.plasticity.bcm import BcmRule, _bcm_at_once, bcm


@pytest.mark.parametrize("ticks", [1, 9])
@pytest.mark.parametrize("goes_on", [False, True])
def test_traces_at_once(ticks: int, goes_on: bool) -> None:
    spikes = torch.rand(7, ticks, 3, dtype=torch.float64)
    start = torch.rand(7, 3, dtype=torch.float64) if goes_on else None
    found = stdp._traces_at_once(spikes, 0.9, start)
    for one, wanted in zip(found, stdp.traces(spikes, 0.9, "all-to-all", start), strict=True):
        torch.testing.assert_close(one, wanted, rtol=1e-12, atol=1e-12)


def test_thresholds_at_once() -> None:
    activity, theta = torch.rand(7, 9, dtype=torch.float64), torch.rand(7, dtype=torch.float64)
    rule = BcmRule(learning_rate=0.1, theta_rate=0.3, target_activity=0.2)

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum(1)

    found = _bcm_at_once(activity, theta, rule, dot)
    for one, wanted in zip(found, bcm(activity, theta, rule, dot), strict=True):
        torch.testing.assert_close(one, wanted, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("spread", [0.001, 0.02, 0.5])
def test_the_projections_factors_at_once(spread: float) -> None:
    """Whether few connections meet their bounds, or nearly all; also in cells without any."""
    generator = torch.Generator().manual_seed(0)
    draw = torch.rand(3, 400, 26, dtype=torch.float64, generator=generator)
    exists = draw[0] < 0.5
    exists[:3] = False
    w = torch.where(exists, draw[1] + 0.5, 0.0)
    wanted = (w * (1 + spread * (draw[2] - 0.5))).clamp_min(1e-9)
    lo, hi = w * 0.99, w * 1.01
    goal = w.sum(1, keepdim=True).clamp(lo.sum(1, keepdim=True), hi.sum(1, keepdim=True))
    for goal in (goal, lo.sum(1, keepdim=True), hi.sum(1, keepdim=True)):  # noqa: B020
        found = (competition._scale_at_once(goal, wanted, lo, hi) * wanted).clamp(lo, hi)
        torch.testing.assert_close(found.sum(1, keepdim=True), goal, rtol=1e-9, atol=1e-9)
        newton = (competition._scale_to(goal, wanted, lo, hi) * wanted).clamp(lo, hi)
        torch.testing.assert_close(found, newton, rtol=1e-7, atol=1e-7)
