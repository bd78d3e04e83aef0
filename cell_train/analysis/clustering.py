"""Functional clusters: which cells answer a fixed probe set alike, wherever they sit.

Profiles `[N, P]` hold what N cells do on P probe features. Each cell's mean is removed before
cosines are taken, so that cells are grouped by *what* they answer to and not by how active they
are. Then spherical k-means (Dhillon & Modha 2001) with k-means++ seeding (Arthur & Vassilvitskii
2007) and k chosen by the cosine silhouette (Rousseeuw 1987).

Every figure here has a value on structureless cells too: put one beside it, from the same
functions on surrogate profiles. Spatially smooth noise reaches a silhouette of 0.17.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from cell_train import limits

ITERATIONS = 25  # of k-means, at most
TRIALS = 3  # draws per k-means++ centre: with one, many seedings merge two planted clusters
UNASSIGNED = -1


@dataclass(frozen=True)
class Clusters:
    """A grouping of N cells, and how much it is worth."""

    labels: Tensor  # [N] int64, UNASSIGNED or a cluster; ids last over refreshes and may skip some
    features: Tensor  # [N, P] centred profiles of unit norm: features[i] @ features[j] is cos_ij
    count: int  # clusters with at least one cell
    unassigned: float  # share of all cells
    silhouette: float | None  # cosine, over assigned cells; None with fewer than two clusters
    restart_agreement: float | None  # adjusted Rand index of the best of each half of restarts
    depth_information: float | None  # I(label; depth) / H(label): 1 says clusters are depth layers


def centred(profiles: Tensor) -> Tensor:
    """`profiles [N, P]` without each cell's mean, at unit norm; zeros for cells that never vary."""
    values = profiles if profiles.dtype == torch.float64 else profiles.float()
    deviation = values - values.mean(1, keepdim=True)
    norm = deviation.norm(dim=1, keepdim=True)
    rounding = 8 * torch.finfo(values.dtype).eps * values.norm(dim=1, keepdim=True)
    return torch.where(norm > rounding, deviation / norm, 0.0)


def cluster(
    profiles: Tensor,
    depth: Tensor,
    *,
    similarity_threshold: float,
    max_clusters: int,
    generator: torch.Generator,
    previous: Tensor | None = None,
    restarts: int = 8,
) -> Clusters:
    """Group the cells with `profiles [N, P]` at `depth [N]` into at most `max_clusters`.

    Cells whose cosine with their cluster's centre is below `similarity_threshold` stay unassigned,
    as do cells without variance. Ids follow `previous [N]` where clusters overlap with it;
    otherwise the largest cluster comes first. Deterministic for a generator state.
    """
    if max_clusters < 2:
        raise ValueError(f"max_clusters is {max_clusters}: there is nothing to tell apart below 2")
    if restarts < 2:
        raise ValueError(f"restarts is {restarts}: their agreement needs at least 2")
    features = centred(profiles)
    del profiles  # a caller that does not hold them gets their room back here
    active = features.any(1).nonzero().squeeze(1)
    cells = features[active]
    labels = torch.full((len(features),), UNASSIGNED, device=features.device)
    agreement = None
    if len(active) > 2:
        order = torch.randperm(len(active), generator=generator, device=generator.device)
        sample = cells[order[: limits.CLUSTERING_SAMPLE].to(cells.device)]
        centres, agreement = _choose_k(sample, max_clusters, restarts, generator)
        fitted, cosine, _ = _lloyd(cells, centres[None])
        loyal = cosine[0] >= similarity_threshold
        labels[active] = torch.where(loyal, fitted[0], UNASSIGNED)
    labels = match_labels(labels, previous)
    return Clusters(
        labels=labels,
        features=features,
        count=len(torch.unique(labels[labels != UNASSIGNED])),
        unassigned=float((labels == UNASSIGNED).double().mean()) if len(labels) else 1.0,
        silhouette=silhouette(features, labels),
        restart_agreement=agreement,
        depth_information=depth_information(labels, depth),
    )


def _choose_k(
    cells: Tensor, max_clusters: int, restarts: int, generator: torch.Generator
) -> tuple[Tensor, float | None]:
    """Centres `[k, P]` with the best silhouette over `cells [n, P]`, and their restart agreement.

    All cells count here, also those that will stay unassigned: a k that merges clusters must not
    look good for having lost the merged ones. Agreement is between the best of two halves of the
    restarts: one seeding's bad luck says nothing about the cells.
    """
    best, chosen, agreement = -math.inf, cells[:1], None
    for k in range(2, min(max_clusters, len(cells) - 1) + 1):
        labels, cosine, centres = _lloyd(cells, _seeds(cells, k, restarts, generator))
        objective, half = cosine.sum(1), restarts // 2
        a, b = int(objective[:half].argmax()), half + int(objective[half:].argmax())
        first = a if objective[a] >= objective[b] else b
        score = silhouette(cells, labels[first])
        if score is not None and score > best:
            best, chosen = score, centres[first]
            agreement = adjusted_rand_index(labels[a], labels[b])
    return chosen, agreement


def _seeds(cells: Tensor, k: int, restarts: int, generator: torch.Generator) -> Tensor:
    """k-means++ centres `[R, k, P]`: cells drawn with probability ~ 1 - cosine to the nearest one.

    Of TRIALS draws the one that brings the cells nearest stays. A draw is a race of exponential
    clocks, argmin of Exp(1) / weight, which is the same on every device.
    """
    clocks = torch.empty(k, TRIALS, restarts, len(cells), device=generator.device)
    clocks = clocks.exponential_(generator=generator).to(cells)
    nearest = torch.full_like(clocks[0, 0], -1.0)  # [R, n] cosine; all alike for the first draw
    restart = torch.arange(restarts, device=cells.device)
    centres = []
    for clock in clocks:
        drawn = cells[(clock / (1 - nearest).clamp(min=1e-12)).argmin(2)]  # [TRIALS, R, P]
        reached = torch.maximum(nearest, drawn @ cells.T)  # [TRIALS, R, n]
        best = reached.sum(2).argmax(0)  # [R]
        nearest = reached[best, restart]
        centres.append(drawn[best, restart])
    return torch.stack(centres, 1)


def _lloyd(cells: Tensor, centres: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Spherical k-means of `cells [n, P]` from each of `centres [R, k, P]`, all R in one matmul.

    Returns labels `[R, n]`, each cell's cosine with its centre `[R, n]`, and centres.
    """
    restarts, k, width = centres.shape
    labels = torch.full((len(cells), restarts), UNASSIGNED, device=cells.device)
    for _ in range(ITERATIONS):
        before = labels
        cosine, labels = (cells @ centres.reshape(-1, width).T).view(-1, restarts, k).max(2)
        if torch.equal(before, labels):
            break
        member = functional.one_hot(labels, k).to(cells.dtype).view(len(cells), -1)
        total = (member.T @ cells).view(restarts, k, width)
        norm = total.norm(dim=2, keepdim=True)
        centres = torch.where(norm > 1e-6, total / norm, centres)  # an empty cluster stays put
    return labels.T, cosine.T, centres


def match_labels(labels: Tensor, previous: Tensor | None) -> Tensor:
    """`labels [N]` renamed to the ids of `previous [N]` they share most cells with.

    Largest overlap first and each id given once, so that the cluster that lasted keeps its name;
    new clusters take the lowest free ids, larger ones first.
    """
    names: dict[int, int] = {}
    if previous is not None:
        both = (labels != UNASSIGNED) & (previous != UNASSIGNED)
        shared = torch.stack((labels[both], previous[both]))
        pairs, overlap = torch.unique(shared, dim=1, return_counts=True)
        for new, kept in pairs[:, overlap.argsort(descending=True, stable=True)].T.tolist():
            if new not in names and kept not in names.values():
                names[new] = kept
    found, sizes = torch.unique(labels[labels != UNASSIGNED], return_counts=True)
    for new in found[sizes.argsort(descending=True, stable=True)].tolist():
        if new not in names:
            names[new] = min(set(range(len(found))) - set(names.values()))
    renamed = torch.full_like(labels, UNASSIGNED)
    for new, name in names.items():
        renamed[labels == new] = name
    return renamed


def silhouette(features: Tensor, labels: Tensor) -> float | None:
    """Mean cosine silhouette of unit rows `features [N, P]`; unassigned cells are left out.

    Exact for all cells without an N x N matrix: the mean cosine of a cell with a cluster is its
    cosine with the cluster's mean. None with fewer than two clusters.
    """
    assigned = labels != UNASSIGNED
    rows = features[assigned].double()
    _, label, sizes = torch.unique(labels[assigned], return_inverse=True, return_counts=True)
    if len(sizes) < 2:
        return None
    member = functional.one_hot(label, len(sizes)).bool()
    cosines = rows @ (member.double().T @ rows).T  # [n, K] summed over each cluster
    own_size = sizes[label]
    own = 1 - (cosines[member] - 1) / (own_size - 1).clamp(min=1)  # without itself, whose cos is 1
    other = (1 - cosines / sizes).masked_fill(member, math.inf).min(1).values
    larger = torch.maximum(own, other)
    # Alone in its cluster, or on top of everything else: neither well nor badly placed.
    undecided = (own_size == 1) | (larger < 1e-12)
    return float(torch.where(undecided, 0.0, (other - own) / larger).mean())


def adjusted_rand_index(a: Tensor, b: Tensor) -> float:
    """Agreement of two labellings `[N]` beyond chance (Hubert & Arabie 1985): 1 equal, 0 chance.

    UNASSIGNED is a label like any other here.
    """

    def pairs(counts: Tensor) -> float:
        return float((counts * (counts - 1) / 2).sum())

    table = _contingency(a, b)
    rows, columns, every = pairs(table.sum(1)), pairs(table.sum(0)), pairs(table.sum())
    chance, most = rows * columns / max(every, 1.0), (rows + columns) / 2
    return 1.0 if most == chance else (pairs(table) - chance) / (most - chance)


def mutual_information(a: Tensor, b: Tensor) -> float:
    """Mutual information of two labellings `[N]` in nats, from counts, without bias correction."""
    table = _contingency(a, b)
    share = table / table.sum()
    expected = share.sum(1, keepdim=True) * share.sum(0, keepdim=True)
    return max(0.0, float(torch.special.xlogy(share, share / expected).sum()))


def depth_information(labels: Tensor, depth: Tensor) -> float | None:
    """Share of the clusters' entropy that depth explains, I(label; depth) / H(label).

    Divided by the labels' entropy and not by a mean of both: with more layers than clusters only
    this reaches 1 when depth alone decides. Few cells per layer push it up by about
    (clusters - 1)(layers - 1) / (2 cells H). None with fewer than two clusters.
    """
    assigned = labels != UNASSIGNED
    entropy = mutual_information(labels[assigned], labels[assigned]) if assigned.any() else 0.0
    if entropy == 0.0:
        return None
    return min(1.0, mutual_information(labels[assigned], depth[assigned]) / entropy)


def contiguity(labels: Tensor) -> tuple[float, float] | None:
    """How often face neighbours share a cluster in `labels [X, Y, Z]`, and the same by chance.

    The join count over pairs of assigned neighbours; chance is its exact mean when the labels are
    permuted over the assigned cells. None without such a pair.
    """
    same = pairs = 0
    for axis in range(3):
        here = labels.narrow(axis, 0, labels.shape[axis] - 1)
        there = labels.narrow(axis, 1, labels.shape[axis] - 1)
        both = (here != UNASSIGNED) & (there != UNASSIGNED)
        same, pairs = same + int((both & (here == there)).sum()), pairs + int(both.sum())
    if pairs == 0:
        return None
    sizes = torch.unique(labels[labels != UNASSIGNED], return_counts=True)[1].double()
    chance = (sizes * (sizes - 1)).sum() / (sizes.sum() * (sizes.sum() - 1))
    return same / pairs, float(chance)


def jaccard_stability(
    clusters: Clusters,
    *,
    similarity_threshold: float,
    generator: torch.Generator,
    resamples: int = 20,
    restarts: int = 8,
) -> float | None:
    """Mean over clusters of the Jaccard overlap with their best match in resampled cells.

    Cells are drawn with replacement and clustered anew with the same k (Hennig 2007); 0.75 is
    usually called stable. None without a cluster.
    """
    active = clusters.features.any(1)
    cells, labels = clusters.features[active], clusters.labels[active]
    k = max(2, clusters.count)
    if clusters.count == 0 or len(cells) <= k:
        return None
    known = torch.unique(labels[labels != UNASSIGNED])[:, None]
    overlaps = []
    for _ in range(resamples):
        size = (min(limits.CLUSTERING_SAMPLE, len(cells)),)
        drawn = torch.randint(len(cells), size, generator=generator, device=generator.device)
        drawn = torch.unique(drawn).to(cells.device)
        fitted, cosine, _ = _lloyd(cells[drawn], _seeds(cells[drawn], k, restarts, generator))
        best = int(cosine.sum(1).argmax())
        new = fitted[best] == torch.arange(k, device=cells.device)[:, None]
        new, old = new & (cosine[best] >= similarity_threshold), labels[drawn] == known
        shared = old.double() @ new.double().T  # [count, k]
        union = old.sum(1, keepdim=True) + new.sum(1) - shared
        overlaps.append((shared / union.clamp(min=1)).max(1).values.mean())
    return float(torch.stack(overlaps).mean())


def smooth_noise(
    dimensions: tuple[int, int, int], width: int, generator: torch.Generator
) -> Tensor:
    """Profiles `[N, width]` of cells that only resemble their neighbours: noise, averaged over
    3 x 3 x 3 cells."""
    noise = torch.randn(1, width, *dimensions, generator=generator, device=generator.device)
    smooth = functional.avg_pool3d(noise, 3, stride=1, padding=1, count_include_pad=False)
    return smooth[0].flatten(1).T.contiguous()


def _contingency(a: Tensor, b: Tensor) -> Tensor:
    """`[A, B]` (float64): how many cells carry the i-th label of `a` and the j-th of `b`."""
    rows, a = torch.unique(a, return_inverse=True)
    columns, b = torch.unique(b, return_inverse=True)
    size = (len(rows), len(columns))
    return torch.bincount(a * size[1] + b, minlength=size[0] * size[1]).view(size).double()
