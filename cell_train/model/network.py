"""The lattice as a module: plasticity changes its connections, the optimizer its rule."""

import torch
from torch import Tensor, nn

from cell_train.model.cell_rule import CellRule
from cell_train.model.kernels import Kernels
from cell_train.model.lattice import Connections
from cell_train.model.rollout import Presentation, Write, present


class Network(nn.Module):
    """Cells, their connections and their shared rule; strengths have no gradient.

    `connections` is a frozen value: plasticity replaces it whole, between optimizer steps.
    """

    def __init__(
        self,
        connections: Connections,
        rule: CellRule,
        kernels: Kernels,
        *,
        ticks: int,
        segment: int = 1,
        storage: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.connections = connections
        self.rule = rule
        self.kernels = kernels
        self.ticks = ticks
        self.segment = segment
        self.storage = storage

    def forward(self, x: Tensor, write: Write, batch: int) -> tuple[Tensor, Tensor]:
        """Present `x`: the cells [X, Y, Z, B, C] after T ticks and the activity [N, T, B]."""
        how = Presentation(
            self.connections, self.kernels, write, self.ticks, self.segment, self.storage
        )
        return present(how, x, self.rule.weights(), batch)
