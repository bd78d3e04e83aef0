"""Figures of free dynamics, on processes whose figures are known."""

import math

import pytest
import torch
from torch import Tensor

from cell_train.analysis.dynamics import branching_ratio, causal_emergence, strength_distribution


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def branching(m: float, seen: float, ticks: int = 1000, trials: int = 60) -> Tensor:
    """A driven branching process of mean 400; each event is seen with probability `seen`."""
    generator = seeded()
    active = torch.full((trials,), 400.0, dtype=torch.float64)
    record = []
    for _ in range(ticks):
        active = torch.poisson(m * active + 400 * (1 - m), generator=generator)
        record.append(torch.binomial(active, torch.full_like(active, seen), generator=generator))
    return torch.stack(record)


@pytest.mark.parametrize("m", [0.8, 0.9, 0.98])
def test_the_branching_ratio_is_found_though_few_events_are_seen(m: float) -> None:
    record = branching(m, seen=0.05)
    deviation = record - record.mean(1, keepdim=True)
    naive = float((deviation[1:] * deviation[:-1]).sum() / deviation[:-1].square().sum())
    found = branching_ratio(record)
    assert found == pytest.approx(m, abs=0.03)
    assert naive < 0.75 * m


def test_what_all_trials_share_is_no_propagation() -> None:
    """White noise around a slow common decay has nothing that lasts."""
    decay = 100 * 0.99 ** torch.arange(800, dtype=torch.float64)
    noise = torch.randn(800, 40, generator=seeded(), dtype=torch.float64)
    found = branching_ratio(decay[:, None] + noise)
    assert found is None or found < 0.3


@pytest.mark.parametrize("record", [torch.ones(300, 8), torch.randn(300, 1, generator=seeded())])
def test_trials_that_do_not_differ_have_no_figure(record: Tensor) -> None:
    assert branching_ratio(record) is None
    assert causal_emergence(record[..., None].expand(-1, -1, 3), torch.ones(3), seeded()) is None


def autoregressive(a: float, parts: int, seed: int = 0) -> Tensor:
    """[400, 20, parts] independent processes of variance 1."""
    generator = seeded(seed)
    x = torch.randn(20, parts, generator=generator, dtype=torch.float64)
    record = []
    for _ in range(400):
        noise = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        x = a * x + math.sqrt(1 - a * a) * noise
        record.append(x)
    return torch.stack(record)


def test_independent_parts_have_the_psi_of_the_formula_and_are_no_more_than_their_surrogates() -> (
    None
):
    a, parts = 0.8, 6
    found = causal_emergence(autoregressive(a, parts), torch.ones(parts), seeded())
    expected = -0.5 * math.log(1 - a * a) + parts / 2 * math.log(1 - a * a / parts)
    assert found is not None
    assert found.psi == pytest.approx(expected, abs=0.03)
    assert found.surrogate_mean == pytest.approx(expected, abs=0.03)
    assert found.p_value > 0.05


def test_a_whole_that_persists_while_its_parts_are_noise_is_found() -> None:
    whole = autoregressive(0.95, 1)
    noise = torch.randn(400, 20, 5, generator=seeded(7), dtype=torch.float64)
    parts = 0.3 * whole + noise - noise.mean(2, keepdim=True)
    found = causal_emergence(parts, torch.ones(5), seeded())
    assert found is not None
    assert found.psi > 0.5
    assert found.psi > found.surrogate_mean + 0.3
    assert found.p_value == pytest.approx(0.01)


def test_parts_that_all_know_the_whole_are_redundant() -> None:
    copies = autoregressive(0.8, 1).expand(-1, -1, 4)
    found = causal_emergence(copies, torch.ones(4), seeded())
    assert found is not None
    assert found.psi == pytest.approx(-3 * -0.5 * math.log(1 - 0.64), rel=0.1)


def test_bimodality_of_known_distributions() -> None:
    uniform = strength_distribution(torch.linspace(0.1, 2.0, 10_000), 0.1, 2.0)
    assert uniform["bimodality"] == pytest.approx(5 / 9, abs=1e-3)
    assert uniform["variation"] == pytest.approx(1.9 / math.sqrt(12) / 1.05, rel=1e-3)
    assert uniform["at_bounds"] == pytest.approx(0.002, abs=2e-4)
    normal = torch.randn(100_000, generator=seeded()) * 0.1 + 1
    assert strength_distribution(normal, 0.1, 2.0)["bimodality"] == pytest.approx(1 / 3, abs=0.01)
    two = strength_distribution(torch.tensor([0.1, 2.0]).repeat(50), 0.1, 2.0)
    assert two["bimodality"] == pytest.approx(1.0)
    assert two["at_bounds"] == 1.0
    assert strength_distribution(torch.ones(9), 0.1, 2.0)["bimodality"] is None
