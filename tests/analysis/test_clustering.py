"""Clusters are found where they were planted, nowhere else, and measured as scikit-learn does."""

import math

import pytest
import torch
from sklearn import metrics
from torch import Tensor

from cell_train.analysis.clustering import (
    UNASSIGNED,
    Clusters,
    adjusted_rand_index,
    centred,
    cluster,
    contiguity,
    depth_information,
    jaccard_stability,
    match_labels,
    mutual_information,
    silhouette,
    smooth_noise,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def planted(cells: int, kinds: int, noise: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Profiles `[cells, 64]`: one of `kinds` patterns each, with noise; and which pattern it is."""
    generator = seeded(seed)
    kind = torch.randint(kinds, (cells,), generator=generator)
    patterns = torch.randn(kinds, 64, generator=generator)
    offset = 5 * torch.rand(cells, 1, generator=generator)  # activity level, which must not matter
    return patterns[kind] + noise * torch.randn(cells, 64, generator=generator) + offset, kind


def fit(profiles: Tensor, seed: int = 1, previous: Tensor | None = None, most: int = 8) -> Clusters:
    return cluster(
        profiles,
        torch.arange(len(profiles)) % 7,
        similarity_threshold=0.7,
        max_clusters=most,
        generator=seeded(seed),
        previous=previous,
    )


@pytest.mark.parametrize("kinds", [2, 3, 5, 8])
@pytest.mark.parametrize("cells", [300, 4000])  # within and beyond the sample k is chosen on
def test_planted_clusters_are_recovered(kinds: int, cells: int) -> None:
    profiles, kind = planted(cells, kinds, noise=0.5)
    found = fit(profiles)
    assert found.count == kinds
    assert adjusted_rand_index(found.labels, kind) >= 0.95
    assert found.unassigned <= 0.01
    assert found.silhouette is not None
    assert found.silhouette >= 0.5
    assert found.restart_agreement is not None
    assert found.restart_agreement >= 0.95
    stability = jaccard_stability(found, similarity_threshold=0.7, generator=seeded())
    assert stability is not None
    assert stability >= 0.95


def test_structureless_cells_stay_unassigned() -> None:
    found = fit(torch.randn(700, 64, generator=seeded()))
    assert found.unassigned >= 0.95
    assert found.restart_agreement is not None
    assert found.restart_agreement <= 0.6


def test_strays_among_clusters_stay_unassigned() -> None:
    profiles, kind = planted(600, 3, noise=0.3)
    strays = torch.randn(100, 64, generator=seeded(9))
    found = fit(torch.cat((profiles, strays)))
    assert adjusted_rand_index(found.labels[:600], kind) >= 0.95
    assert (found.labels[600:] == UNASSIGNED).all()
    assert found.unassigned == pytest.approx(100 / 700)


def test_the_same_generator_state_gives_the_same_clusters() -> None:
    profiles, _ = planted(500, 4, noise=1.5)  # hard enough for seedings to differ
    assert torch.equal(fit(profiles, seed=3).labels, fit(profiles, seed=3).labels)


def test_permuting_cells_permutes_the_partition() -> None:
    profiles, _ = planted(500, 4, noise=0.5)
    order = torch.randperm(500, generator=seeded())
    assert adjusted_rand_index(fit(profiles).labels[order], fit(profiles[order]).labels) == 1.0


def test_scale_and_offset_of_a_cell_do_not_matter() -> None:
    profiles, _ = planted(300, 3, noise=0.5)
    scale = 0.1 + torch.rand(300, 1, generator=seeded())
    assert torch.equal(fit(profiles).labels, fit(scale * profiles + 2).labels)


def test_ids_follow_the_previous_refresh() -> None:
    profiles, kind = planted(400, 4, noise=0.5)
    renamed = torch.tensor([6, 0, 3, 5])[kind]
    assert torch.equal(fit(profiles, previous=renamed).labels, renamed)


def test_a_vanished_cluster_leaves_its_neighbours_names_alone() -> None:
    previous = torch.tensor([0, 0, 0, 1, 1, 2, 2, -1])
    labels = torch.tensor([1, 1, 1, 1, 1, 0, 0, 2])  # 0 swallowed 1; what was 2 is 0; one is new
    assert match_labels(labels, previous).tolist() == [0, 0, 0, 0, 0, 2, 2, 1]


def test_without_a_past_the_largest_cluster_comes_first() -> None:
    assert match_labels(torch.tensor([4, 2, 2, -1]), None).tolist() == [1, 0, 0, -1]


@pytest.mark.parametrize("cells", [0, 1, 2, 3, 5])
def test_fewer_cells_than_clusters(cells: int) -> None:
    found = fit(torch.randn(cells, 16, generator=seeded()))
    assert found.labels.shape == (cells,)
    assert 0 <= found.count <= cells


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_cells_that_never_vary_stay_unassigned(dtype: torch.dtype) -> None:
    found = fit(torch.full((50, 16), 0.3, dtype=dtype))
    assert (found.labels == UNASSIGNED).all()
    assert not found.features.any()
    assert (found.count, found.unassigned, found.silhouette) == (0, 1.0, None)


def test_identical_profiles_do_not_crash() -> None:
    found = fit(torch.randn(16, generator=seeded()).expand(50, 16))
    assert found.unassigned == 0.0


def test_features_give_the_correlation_of_profiles() -> None:
    profiles, _ = planted(20, 2, noise=1.0)
    features = centred(profiles.double())
    torch.testing.assert_close(features @ features.T, torch.corrcoef(profiles.double()))


@pytest.mark.parametrize("most", [0, 1])
def test_a_single_cluster_is_refused(most: int) -> None:
    with pytest.raises(ValueError, match=f"max_clusters is {most}"):
        fit(torch.randn(9, 4), most=most)


# --- figures, against scikit-learn ---------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_silhouette_is_scikit_learns(seed: int) -> None:
    features = centred(torch.randn(200, 12, generator=seeded(seed), dtype=torch.float64))
    labels = torch.randint(-1, 5, (200,), generator=seeded(seed))
    labels[0] = 7  # alone in its cluster
    assigned = labels != UNASSIGNED
    theirs = metrics.silhouette_score(features[assigned], labels[assigned], metric="cosine")
    assert silhouette(features, labels) == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_label_agreement_is_scikit_learns(seed: int) -> None:
    a = torch.randint(-1, 6, (300,), generator=seeded(seed))
    b = torch.where(torch.rand(300, generator=seeded(seed)) < 0.5, a, a.roll(1))
    assert adjusted_rand_index(a, b) == pytest.approx(metrics.adjusted_rand_score(a, b), abs=1e-12)
    assert mutual_information(a, b) == pytest.approx(metrics.mutual_info_score(a, b), abs=1e-12)
    assigned = a != UNASSIGNED
    theirs = metrics.homogeneity_score(a[assigned], b[assigned])
    assert depth_information(a, b) == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize(
    ("a", "b"),
    [([0, 0, 0], [1, 1, 1]), ([0, 1, 2], [2, 0, 1]), ([0, 0, 0], [0, 1, 2]), ([3], [4])],
)
def test_rand_index_of_trivial_labellings(a: list[int], b: list[int]) -> None:
    ours = adjusted_rand_index(torch.tensor(a), torch.tensor(b))
    assert ours == metrics.adjusted_rand_score(a, b)


def test_normalised_mutual_information_follows_from_ours() -> None:
    a = torch.randint(4, (300,), generator=seeded(0))
    b = (a + torch.randint(2, (300,), generator=seeded(1))) % 6
    mean_entropy = (mutual_information(a, a) + mutual_information(b, b)) / 2
    theirs = metrics.normalized_mutual_info_score(a, b)
    assert mutual_information(a, b) / mean_entropy == pytest.approx(theirs, abs=1e-12)


def test_layers_are_reported_as_depth_and_nothing_else() -> None:
    depth = torch.arange(24).repeat(200)
    assert depth_information(depth // 6, depth) == pytest.approx(1.0)
    chance = depth_information(torch.randint(4, depth.shape, generator=seeded()), depth)
    assert chance == pytest.approx(3 * 23 / (2 * 4800 * math.log(4)), rel=0.5)
    assert depth_information(torch.zeros_like(depth), depth) is None


def test_smooth_noise_looks_clustered_in_space_and_is_not() -> None:
    profiles = smooth_noise((9, 9, 9), 32, seeded())
    assert profiles.shape == (729, 32)
    found = cluster(
        profiles,
        torch.arange(729) % 9,
        similarity_threshold=0.0,
        max_clusters=8,
        generator=seeded(),
    )
    joins = contiguity(found.labels.view(9, 9, 9))
    assert joins is not None
    assert joins[0] > 2 * joins[1]
    assert found.silhouette is not None
    assert found.silhouette < 0.25
    assert fit(profiles).unassigned > 0.9


def test_contiguity_of_blocks_of_noise_and_of_nothing() -> None:
    halves = torch.zeros(6, 6, 6, dtype=torch.long)
    halves[3:] = 1
    found = contiguity(halves)
    assert found is not None
    assert found == pytest.approx((1 - 36 / 540, 107 / 215))
    shuffles = [
        contiguity(halves.flatten()[torch.randperm(216, generator=seeded(s))].view(6, 6, 6))
        for s in range(200)
    ]
    observed, chance = torch.tensor(shuffles, dtype=torch.float64).mean(0).tolist()
    assert observed == pytest.approx(chance, abs=0.006)
    assert contiguity(torch.full((4, 4, 4), UNASSIGNED)) is None
