"""STDP: the online traces against the sum over all pairs of spikes, and each option."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from cell_train.plasticity.spikes import graded_spikes
from cell_train.plasticity.stdp import StdpRule, pair_stdp, trace_normaliser

PAIRS = [(0, 1), (1, 0), (2, 3), (3, 3)]  # (receiving cell, source) of four connections


def dot(at_cell: Tensor, at_source: Tensor) -> Tensor:
    cells, sources = zip(*PAIRS, strict=True)
    return (at_cell[list(cells)] * at_source[list(sources)]).sum(1)


def trains(ticks: int = 60, batch: int = 3, rate: float = 0.2) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(4, ticks, batch, generator=generator) < rate).double()


def rule(**options: object) -> StdpRule:
    plain = {"learning_rate": 0.5, "time_window": 7.0, "statistic": "raw", "normalised": False}
    return StdpRule(**(plain | options))  # type: ignore[arg-type]


def all_pairs(post: np.ndarray, pre: np.ndarray, how: StdpRule) -> float:
    """Every pair of spikes weighed by exp(-lag / tau); coincident ones by the convention."""
    total = 0.0
    for i, after in enumerate(post):
        for j, before in enumerate(pre):
            weight = math.exp(-abs(i - j) / how.time_window) * after * before
            potentiates = i > j or (i == j and how.coincidence != "exclusive")
            depresses = i < j or (i == j and how.coincidence == "inclusive")
            total += (how.a_plus * potentiates - how.a_minus * depresses) * weight
    return how.learning_rate * total


@pytest.mark.parametrize("coincidence", ["exclusive", "inclusive", "pre-first"])
def test_traces_add_up_to_the_sum_over_all_pairs(coincidence: str) -> None:
    spikes, how = trains(), rule(coincidence=coincidence)
    found, _ = pair_stdp(spikes, how, dot)
    numbers = spikes.numpy()
    for value, (cell, source) in zip(found.tolist(), PAIRS, strict=True):
        expected = np.mean(
            [all_pairs(numbers[cell, :, b], numbers[source, :, b], how) for b in range(3)]
        )
        assert value == pytest.approx(expected, rel=1e-12)


def test_nearest_pairs_only_with_the_last_spike() -> None:
    spikes, how = trains(batch=1), rule(pairing="nearest", a_minus=0.0)
    found, _ = pair_stdp(spikes, how, dot)
    numbers = spikes[..., 0].numpy()
    for value, (cell, source) in zip(found.tolist(), PAIRS, strict=True):
        total = 0.0
        for i in np.flatnonzero(numbers[cell]):
            earlier = np.flatnonzero(numbers[source][:i])
            total += math.exp(-(i - earlier[-1]) / how.time_window) if earlier.size else 0.0
        assert value == pytest.approx(how.learning_rate * total, rel=1e-12)


def test_covariance_is_the_covariance_over_samples_at_each_tick() -> None:
    spikes = trains(ticks=20, batch=16)
    found, _ = pair_stdp(spikes, rule(statistic="covariance", a_minus=0.0), dot)
    decay = math.exp(-1 / 7.0)
    numbers = spikes.numpy()
    for value, (cell, source) in zip(found.tolist(), PAIRS, strict=True):
        trace, total = np.zeros(16), 0.0
        for tick in range(20):
            trace = decay * trace
            total += float(np.cov(numbers[cell, tick], trace)[0, 1])
            trace = trace + numbers[source, tick]
        assert value == pytest.approx(0.5 * total, rel=1e-9, abs=1e-12)


def test_what_all_samples_share_teaches_nothing() -> None:
    """A wave that runs through every sample alike moves raw STDP and leaves the covariance at 0."""
    wave = trains(batch=1).expand(4, 60, 8).contiguous()
    raw, _ = pair_stdp(wave, rule(), dot)
    covariance, _ = pair_stdp(wave, rule(statistic="covariance"), dot)
    assert raw.abs().min() > 0.01
    assert covariance.abs().max() < 1e-12


def test_one_sample_has_no_covariance() -> None:
    found, _ = pair_stdp(trains(batch=1), rule(statistic="covariance"), dot)
    assert not found.any()


@pytest.mark.parametrize("coincidence", ["exclusive", "inclusive", "pre-first"])
@pytest.mark.parametrize("branch", [{"a_minus": 0.0}, {"a_plus": 0.0, "a_minus": 1.0}])
@pytest.mark.parametrize("ticks", [9, 40])
def test_windows_drift_alike_over_a_finite_presentation(
    coincidence: str, branch: dict[str, float], ticks: int
) -> None:
    """Constant trains have no noise: each window must give ticks x rate^2 exactly."""
    steady = torch.full((4, ticks, 1), 0.3, dtype=torch.float64)
    for window in (20.0, 50.0, 100.0):
        how = rule(coincidence=coincidence, time_window=window, normalised=True, **branch)
        found, _ = pair_stdp(steady, how, dot)
        sign = 1 if branch.get("a_plus", 1.0) else -1
        torch.testing.assert_close(found, torch.full_like(found, sign * 0.5 * ticks * 0.09))


def test_long_presentations_reach_the_limit_of_the_normaliser() -> None:
    decay = math.exp(-1 / 20)
    for coincident in (False, True):
        endless = trace_normaliser(decay, None, coincident=coincident)
        long = trace_normaliser(decay, 20_000, coincident=coincident)
        assert long == pytest.approx(endless, rel=2e-3)
    assert trace_normaliser(decay, None, coincident=False) == pytest.approx((1 - decay) / decay)


def test_freeze_moves_at_a_fiftieth_of_discovery() -> None:
    fast, _ = pair_stdp(trains(), rule(learning_rate=0.05), dot)
    slow, _ = pair_stdp(trains(), rule(learning_rate=0.001), dot)
    torch.testing.assert_close(slow * 50, fast)


def test_graded_spikes_follow_their_recurrence_and_lose_nothing() -> None:
    activity = torch.rand(5, 40, 3, generator=torch.Generator().manual_seed(0)).double()
    spikes, residue = graded_spikes(activity, 0.3)
    r = torch.zeros(5, 3, dtype=torch.float64)
    for tick in range(40):
        s = 0.3 * torch.floor((activity[:, tick] + r) / 0.3)
        r = activity[:, tick] + r - s
        torch.testing.assert_close(spikes[:, tick], s, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(spikes.sum(1) + residue, activity.sum(1))
    assert residue.min() >= -1e-9
    assert residue.max() < 0.3


def test_a_residue_carries_over() -> None:
    activity = torch.full((1, 4, 1), 0.06)
    spikes, residue = graded_spikes(activity, 0.1)
    again, _ = graded_spikes(activity, 0.1, residue)
    assert int((spikes > 0).sum()) == 2
    assert torch.allclose(spikes.sum() + again.sum(), torch.tensor(0.4))
