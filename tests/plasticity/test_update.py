"""All rules together: competition, the projection's promises, and who moves how much."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cell_train.config import profiles
from cell_train.errors import ConfigError
from cell_train.model import lattice
from cell_train.model.kernels import reference
from cell_train.plasticity import Dot
from cell_train.plasticity.bcm import BcmRule
from cell_train.plasticity.competition import Bounds, CompetitionRule, compete, project
from cell_train.plasticity.homeostasis import ScalingRule
from cell_train.plasticity.stdp import StdpRule, Triplet, pair_stdp
from cell_train.plasticity.update import (
    Affinity,
    PlasticityRule,
    PlasticState,
    Wiring,
    amplified,
    plastic_step,
)

BOUNDS = Bounds(0.1, 2.0)
DISCOVERY = PlasticityRule(
    rule="combined",
    threshold=0.01,
    stdp=StdpRule(learning_rate=0.05, time_window=20),
    bcm=BcmRule(learning_rate=0.005, theta_rate=0.1, target_activity=0.2),
    competition=CompetitionRule(1.1, 0.95),
    bounds=BOUNDS,
)
CONNECTIONS = lattice.wire((4, 5, 4), density=0.5, strengths=(0.75, 1.25), seed=0)


def wiring() -> Wiring:
    return Wiring(CONNECTIONS.strength, CONNECTIONS.exists, CONNECTIONS.place, CONNECTIONS.source)


def activity(seed: int = 0) -> Tensor:
    return torch.rand(80, 6, 8, generator=torch.Generator().manual_seed(seed)) * 0.3


def dot(a: Tensor, b: Tensor) -> Tensor:
    return reference.connection_dot(CONNECTIONS, a, b)


def state() -> PlasticState:
    return PlasticState(torch.full((80,), 0.2))


def test_a_rule_of_ones_own_stands_where_stdp_stood() -> None:
    def own(spikes: Tensor, strength: Tensor, learning_rate: float, dot: Dot) -> Tensor:
        assert spikes.shape == (80, 6, 8)
        assert strength.equal(CONNECTIONS.strength)
        return pair_stdp(spikes, replace(DISCOVERY.stdp, learning_rate=learning_rate), dot)[0]

    mine = replace(DISCOVERY, rule="module:own", own=own)
    outcomes = [plastic_step(wiring(), activity(), state(), one, dot) for one in (DISCOVERY, mine)]
    assert outcomes[0].strength.equal(outcomes[1].strength)
    assert outcomes[0].state.theta.equal(outcomes[1].state.theta)
    one_short = replace(mine, own=lambda *known: own(*known)[1:])
    with pytest.raises(ConfigError, match="a change of each"):
        plastic_step(wiring(), activity(), state(), one_short, dot)


@given(
    seed=st.integers(0, 10_000),
    spread=st.floats(0.0, 0.5),
    factor=st.floats(0.5, 2.0),
    density=st.floats(0.05, 1.0),
)
def test_the_projection_keeps_sum_bounds_box_and_pruning(
    seed: int, spread: float, factor: float, density: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    exists = torch.rand(30, 26, generator=generator) < density
    before = (0.1 + 1.9 * torch.rand(30, 26, generator=generator).double()) * exists
    noise = torch.randn(30, 26, generator=generator).double()
    proposed = (before * factor * (1 + spread * noise)).clamp_min(0) * exists
    after = project(before, proposed, exists, before.sum(1), BOUNDS)
    torch.testing.assert_close(after.sum(1), before.sum(1), rtol=1e-6, atol=1e-9)
    assert not after[~exists].any()
    kept = after[exists]
    assert bool(((kept >= 0.1 - 1e-12) & (kept <= 2.0 + 1e-12)).all())
    mean = before.sum(1, keepdim=True) / exists.sum(1, keepdim=True).clamp_min(1)
    box = 0.01 * torch.maximum(before, mean.expand_as(before))
    assert bool(((after - before).abs() <= box + 1e-9)[exists].all())


def test_the_projection_scales_what_the_box_leaves_free() -> None:
    """Far from every edge it rescales: ratios between connections are the proposal's."""
    exists = torch.ones(1, 26, dtype=torch.bool)
    before = torch.ones(1, 26, dtype=torch.float64)
    proposed = before.clone()
    proposed[0, :2] = torch.tensor([1.004, 0.998], dtype=torch.float64)
    after = project(before, proposed, exists, before.sum(1), BOUNDS)
    torch.testing.assert_close(after / proposed, (after / proposed)[:, :1].expand(1, 26))


def test_a_total_out_of_reach_is_met_as_far_as_the_box_allows() -> None:
    exists = torch.ones(2, 26, dtype=torch.bool)
    before = torch.ones(2, 26, dtype=torch.float64)
    after = project(before, before * 1.5, exists, before.sum(1) * 1.5, BOUNDS)
    torch.testing.assert_close(after, before * 1.01)


def test_competition_boosts_the_most_active_and_weakens_the_silent() -> None:
    exists = torch.zeros(1, 26, dtype=torch.bool)
    exists[0, :5] = True
    w = exists.double()
    carried = torch.tensor([[5.0, 1.0, 4.0, 3.0, 0.0] + [9.0] * 21], dtype=torch.float64)
    silent = torch.zeros(1, 26, dtype=torch.bool)
    silent[0, 4] = True
    after = compete(w, exists, carried, silent, CompetitionRule(1.1, 0.95, winners=2, kappa=0.1))
    assert after[0, :5].tolist() == pytest.approx([1.01, 1.0, 1.01, 1.0, 0.995])
    assert not after[0, 5:].any()


def test_one_step_moves_strengths_within_their_promises() -> None:
    found = plastic_step(wiring(), activity(), state(), DISCOVERY, dot)
    w = CONNECTIONS.strength
    assert found.strength.shape == w.shape
    assert 1e-5 < found.change < 0.02
    assert found.spiking == 1.0
    largest = torch.maximum(w, wiring().spread(w).sum(1)[CONNECTIONS.cell] / 2)
    assert bool(((found.strength - w).abs() <= 0.0101 * largest).all())


def test_competition_alone_keeps_every_incoming_sum() -> None:
    rule = replace(DISCOVERY, rule="competition")
    found = plastic_step(wiring(), activity(), state(), rule, dot)
    before = CONNECTIONS.incoming(CONNECTIONS.strength)
    torch.testing.assert_close(CONNECTIONS.incoming(found.strength), before, rtol=1e-6, atol=1e-6)
    assert found.change > 1e-4


def test_freeze_is_minimal_but_not_zero_plasticity() -> None:
    freeze = replace(
        DISCOVERY,
        stdp=replace(DISCOVERY.stdp, learning_rate=0.001),
        bcm=replace(DISCOVERY.bcm, learning_rate=0.0001),
        competition=CompetitionRule(1.0, 1.0),
    )
    slow = plastic_step(wiring(), activity(), state(), freeze, dot).change
    fast = plastic_step(wiring(), activity(), state(), DISCOVERY, dot).change
    assert 0 < slow < fast / 20


def test_on_equal_trains_freeze_moves_a_fiftieth_of_what_discovery_does() -> None:
    rows = profiles.load().plasticity

    def moved(name: str) -> Tensor:
        stdp = replace(DISCOVERY.stdp, learning_rate=rows[name].learning_rate)
        rule = replace(DISCOVERY, rule="stdp", stdp=stdp)
        quiet = activity().double() * 0.1  # no change comes near the box
        found = plastic_step(doubled, quiet, PlasticState(theta.double()), rule, dot)
        return found.strength - doubled.strength

    theta, doubled = state().theta, replace(wiring(), strength=CONNECTIONS.strength.double())
    torch.testing.assert_close(50 * moved("freeze"), moved("discovery"), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("rule", ["stdp", "bcm", "competition"])
def test_each_rule_can_act_alone_and_they_differ(rule: str) -> None:
    alone = plastic_step(wiring(), activity(), state(), replace(DISCOVERY, rule=rule), dot)
    together = plastic_step(wiring(), activity(), state(), DISCOVERY, dot)
    assert alone.change > 0
    assert not torch.equal(alone.strength, together.strength)


def test_triplets_take_the_place_of_pairs() -> None:
    """Without triplet terms and with one window the two rules are the same."""
    as_pairs = Triplet(minus=1.0, a2_plus=1.0, a3_plus=0.0, a2_minus=1.0, a3_minus=0.0)
    rule = replace(DISCOVERY, rule="triplet", triplet=as_pairs)
    pairs = plastic_step(wiring(), activity(), state(), DISCOVERY, dot).strength
    found = plastic_step(wiring(), activity(), state(), rule, dot).strength
    torch.testing.assert_close(found, pairs)
    triplets = plastic_step(wiring(), activity(), state(), replace(rule, triplet=Triplet()), dot)
    assert not torch.allclose(triplets.strength, pairs, atol=1e-4)


def test_scaling_weakens_what_comes_into_a_busy_cell_and_strengthens_a_silent_one() -> None:
    record = activity()
    record[:40] = 0.0
    only = replace(DISCOVERY, rule="competition", competition=CompetitionRule(1.0, 1.0))
    rule = replace(only, scaling=ScalingRule(0.01, mean_rate=0.01, target_activity=0.1))
    found = plastic_step(wiring(), record, state(), rule, dot)
    before = CONNECTIONS.incoming(CONNECTIONS.strength)
    ratio = CONNECTIONS.incoming(found.strength) / before
    assert bool((ratio[:40] > 1).all())
    assert bool((ratio[40:] < 1).all())
    unscaled = plastic_step(wiring(), record, state(), only, dot)
    torch.testing.assert_close(unscaled.strength, CONNECTIONS.strength)


def test_clusters_strengthen_connections_inside_them() -> None:
    rule = replace(DISCOVERY, rule="stdp", priority=0.3, similarity_threshold=0.7)
    inside = torch.arange(CONNECTIONS.count) % 2 == 0
    alike = Affinity(torch.ones(CONNECTIONS.count), inside)
    neutral = Affinity(torch.full((CONNECTIONS.count,), 0.7), inside)
    with_clusters = plastic_step(wiring(), activity(), state(), rule, dot, alike).strength
    without = plastic_step(wiring(), activity(), state(), rule, dot, neutral).strength
    gain = with_clusters - without
    expected = 0.3 * 0.05 * 0.3 * CONNECTIONS.strength[inside]
    assert bool((gain[inside] > 0).float().mean() > 0.9)
    assert float(gain[inside].mean()) == pytest.approx(float(expected.mean()), rel=0.35)
    assert gain[~inside].abs().mean() < 0.2 * gain[inside].abs().mean()


@pytest.mark.parametrize("rule", ["combined", "triplet"])
def test_traces_persist_only_when_asked(rule: str) -> None:
    forgets = replace(DISCOVERY, rule=rule)
    assert plastic_step(wiring(), activity(), state(), forgets, dot).state.trace is None
    keeps = replace(forgets, stdp=replace(DISCOVERY.stdp, persist_traces=True))
    first = plastic_step(wiring(), activity(), state(), keeps, dot)
    assert first.state.trace is not None
    again = plastic_step(wiring(), activity(1), first.state, keeps, dot)
    fresh = plastic_step(wiring(), activity(1), replace(first.state, trace=None), keeps, dot)
    assert not torch.equal(again.strength, fresh.strength)


def test_amplifying_raises_the_incoming_sum_where_asked_within_the_box() -> None:
    ratio = torch.ones(80)
    ratio[:40] = 1.004
    after = amplified(wiring(), ratio, BOUNDS)
    before = CONNECTIONS.incoming(CONNECTIONS.strength)
    torch.testing.assert_close(CONNECTIONS.incoming(after), before * ratio, rtol=1e-5, atol=1e-5)


SYMMETRIES = [  # (where each of the lattice's axes comes from, which are then mirrored)
    (axes, mirrored) for axes in ((0, 1, 2), (1, 0, 2)) for mirrored in ((), (0,), (1,), (0, 1))
]


@pytest.mark.parametrize(("axes", "mirrored"), SYMMETRIES[1:])
@pytest.mark.parametrize("rule", ["combined", "triplet"])
def test_the_update_is_equivariant_under_the_symmetries_of_the_lattice(
    axes: tuple[int, ...], mirrored: tuple[int, ...], rule: str
) -> None:
    """Turning the lattice about z before the update or after it gives the same strengths."""
    full = lattice.wire((4, 4, 3), density=0.6, strengths=(0.75, 1.25), seed=2)
    cells = torch.arange(48).view(4, 4, 3).permute(axes).flip(mirrored).flatten()
    # New cell c is old cell cells[c]; its neighbour at the new offset o is the old one at old(o).
    sign = [-1 if axis in mirrored else 1 for axis in range(3)]

    def old(offset: tuple[int, int, int]) -> tuple[int, ...]:
        found = [0, 0, 0]
        for axis, came_from in enumerate(axes):
            found[came_from] = sign[axis] * offset[axis]
        return tuple(found)

    offsets = torch.tensor([lattice.OFFSETS.index(old(o)) for o in lattice.OFFSETS])
    how = replace(DISCOVERY, rule=rule, scaling=ScalingRule(0.01, 0.01, 0.1))
    alike = torch.rand(48, 26, generator=torch.Generator().manual_seed(3))

    def updated(dense: Tensor, exists: Tensor, record: Tensor, cosine: Tensor) -> Tensor:
        net = lattice.pack((4, 4, 3), False, exists, dense)
        ends = Wiring(net.strength, net.exists, net.place, net.source)
        start = PlasticState(torch.full((48,), 0.2))
        together = Affinity(ends.gathered(cosine), ends.gathered(cosine) > 0.5)
        found = plastic_step(
            ends, record, start, how, lambda a, b: reference.connection_dot(net, a, b), together
        )
        return ends.spread(found.strength)

    record = torch.rand(48, 5, 6, generator=torch.Generator().manual_seed(1)) * 0.3
    before = (full.dense(), full.exists, record, alike)
    plainly = updated(*before)
    turned = updated(
        full.dense()[cells][:, offsets],
        full.exists[cells][:, offsets],
        record[cells],
        alike[cells][:, offsets],
    )
    torch.testing.assert_close(turned, plainly[cells][:, offsets])
    assert not torch.allclose(plainly, full.dense(), atol=1e-3)
