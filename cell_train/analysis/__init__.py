"""Measurements of a lattice: clusters, periodic structure, free dynamics. They change nothing."""

from cell_train.analysis.clustering import (
    Clusters,
    adjusted_rand_index,
    cluster,
    depth_information,
    silhouette,
    smooth_noise,
)
from cell_train.analysis.dynamics import (
    CausalEmergence,
    branching_ratio,
    causal_emergence,
    strength_distribution,
)
from cell_train.analysis.morphology import Periodicity, amplify, periodic_structure, power_spectrum
from cell_train.analysis.spectrum import Shells, shells

__all__ = [
    "CausalEmergence",
    "Clusters",
    "Periodicity",
    "Shells",
    "adjusted_rand_index",
    "amplify",
    "branching_ratio",
    "causal_emergence",
    "cluster",
    "depth_information",
    "periodic_structure",
    "power_spectrum",
    "shells",
    "silhouette",
    "smooth_noise",
    "strength_distribution",
]
