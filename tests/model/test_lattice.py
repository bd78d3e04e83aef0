"""The wiring: which connections exist, where they come from, and what growing keeps."""

from itertools import product

import pytest
import torch

from cell_train.model import lattice
from cell_train.model.lattice import NEIGHBOURS, OFFSETS, Connections, Dimensions


def wired(dimensions: Dimensions, density: float, periodic: bool = False) -> Connections:
    return lattice.wire(
        dimensions, density=density, strengths=(0.75, 1.25), seed=3, periodic=periodic
    )


def test_there_are_26_distinct_neighbours_and_the_opposite_of_each() -> None:
    assert len(set(OFFSETS)) == NEIGHBOURS == 26
    assert {(-x, -y, -z) for x, y, z in OFFSETS} == set(OFFSETS)


@pytest.mark.parametrize("periodic", [False, True])
def test_sources_are_the_cells_the_offsets_point_at(periodic: bool) -> None:
    dimensions = (3, 4, 5)
    connections = wired(dimensions, 1.0, periodic)
    index = {at: i for i, at in enumerate(product(*map(range, dimensions)))}
    expected = []
    for (x, y, z), cell in index.items():
        for dx, dy, dz in OFFSETS:
            at = (x + dx, y + dy, z + dz)
            if periodic:
                at = (at[0] % 3, at[1] % 4, at[2])
            if at in index:
                expected.append((cell, index[at]))
    found = list(zip(connections.cell.tolist(), connections.source.tolist(), strict=True))
    assert found == expected


@pytest.mark.parametrize("density", [0.1, 0.3, 0.7, 1.0])
def test_the_asked_share_of_possible_connections_exists(density: float) -> None:
    connections = wired((6, 5, 7), density)
    possible = int(lattice.possible((6, 5, 7), False).sum())
    assert connections.count == round(density * possible)
    assert connections.strength.min() >= 0.75
    assert connections.strength.max() <= 1.25


def test_a_sparser_choice_is_part_of_a_denser_one() -> None:
    sparse, dense = wired((5, 5, 5), 0.3), wired((5, 5, 5), 0.7)
    assert not (sparse.exists & ~dense.exists).any()


def test_packing_keeps_every_strength_in_its_place() -> None:
    connections = wired((4, 3, 5), 0.5)
    again = lattice.pack((4, 3, 5), False, connections.exists, connections.dense())
    assert torch.equal(again.dense(), connections.dense())
    assert torch.equal(again.mask, connections.mask)
    degrees = connections.start.diff()
    assert torch.equal(degrees, connections.exists.sum(1))


def test_growing_to_the_same_size_and_density_changes_nothing() -> None:
    old = wired((5, 4, 6), 0.4)
    new = lattice.grow(old, (5, 4, 6), density=0.4, seed=9)
    assert torch.equal(new.exists, old.exists)
    assert torch.equal(new.dense(), old.dense())


def test_pruning_on_the_way_keeps_only_connections_that_were_there() -> None:
    old = wired((5, 4, 6), 0.7)
    new = lattice.grow(old, (5, 4, 6), density=0.3, seed=9)
    assert not (new.exists & ~old.exists).any()
    assert new.count == round(0.3 * int(lattice.possible((5, 4, 6), False).sum()))


def test_a_grown_lattice_keeps_the_pattern_of_strengths() -> None:
    """A gradient along x stays that gradient when interpolated to twice the cells."""
    old = wired((4, 4, 4), 1.0)
    x = old.cell // 16
    old = old.with_strength(0.5 + 0.25 * x.float())
    field = lattice.mean_strength(lattice.grow(old, (8, 4, 4), density=1.0, seed=0))
    profile = field.mean((1, 2))
    assert torch.all(profile.diff() >= -1e-5)
    assert profile[0] == pytest.approx(0.5, abs=0.05)
    assert profile[-1] == pytest.approx(1.25, abs=0.05)


def test_balanced_strengths_sum_to_nothing_and_differ_as_before() -> None:
    connections = wired((3, 4, 5), 0.4)
    balanced = lattice.balanced(connections)
    torch.testing.assert_close(
        balanced.incoming(balanced.strength), torch.zeros(60), rtol=0, atol=1e-5
    )
    taken = connections.strength - balanced.strength
    for cell in range(60):
        own = taken[connections.cell == cell]
        assert own.numel() == 0 or float(own.max() - own.min()) < 1e-6
