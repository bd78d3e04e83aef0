"""The lattice: connections, the rule that all cells share, and a presentation of T ticks."""

from cell_train.model.cell_rule import CellRule, IsotropicRule, RuleSize
from cell_train.model.kernels.aggregate import aggregate
from cell_train.model.kernels.select import PLAIN, Kernels, choose
from cell_train.model.lattice import NEIGHBOURS, OFFSETS, Connections, grow, wire
from cell_train.model.network import Network

__all__ = [
    "NEIGHBOURS",
    "OFFSETS",
    "PLAIN",
    "CellRule",
    "Connections",
    "IsotropicRule",
    "Kernels",
    "Network",
    "RuleSize",
    "aggregate",
    "choose",
    "grow",
    "wire",
]
