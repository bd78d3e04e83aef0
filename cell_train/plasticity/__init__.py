"""Local plasticity: what a connection learns from the histories of the two cells it joins.

Every rule here is an inner product between two histories, one at each end of a connection. The
rules take `dot(at_cell [N, L], at_source [N, L]) -> [E]` and know nothing of the lattice.
"""

from cell_train.plasticity.bcm import BcmRule, bcm
from cell_train.plasticity.competition import Bounds, CompetitionRule, compete, project
from cell_train.plasticity.dot import Dot
from cell_train.plasticity.homeostasis import ScalingRule, scaling
from cell_train.plasticity.spikes import graded_spikes
from cell_train.plasticity.stdp import StdpRule, Triplet, pair_stdp, triplet_stdp
from cell_train.plasticity.three_factor import three_factor
from cell_train.plasticity.update import Outcome, PlasticityRule, PlasticState, Wiring, plastic_step

__all__ = [
    "BcmRule",
    "Bounds",
    "CompetitionRule",
    "Dot",
    "Outcome",
    "PlasticState",
    "PlasticityRule",
    "ScalingRule",
    "StdpRule",
    "Triplet",
    "Wiring",
    "bcm",
    "compete",
    "graded_spikes",
    "pair_stdp",
    "plastic_step",
    "project",
    "scaling",
    "three_factor",
    "triplet_stdp",
]
