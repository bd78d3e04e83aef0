"""The lattice as a module: plasticity changes its connections, the optimizer its rule."""

from typing import Any

import torch
from torch import Tensor, nn

from cell_train.model.autograd_rollout import tick, unroll
from cell_train.model.cell_rule import CellRule, RuleSize
from cell_train.model.kernels.select import Kernels
from cell_train.model.lattice import Connections, balanced
from cell_train.model.rollout import Presentation, Write, present


class Network(nn.Module):
    """Cells, their connections and their shared rule; strengths have no gradient.

    `connections` is a frozen value: plasticity replaces it whole, between optimizer steps. `rule`
    is a CellRule, which the kernels know, or any module that maps (connections, cells) to the
    cells a tick later. With `credited`, every backward pass under a CellRule adds to `credit` [E]
    what plasticity/three_factor.py goes by. Cells where `awake` [X, Y, Z, 1, 1] is 0 are silenced.
    """

    def __init__(
        self,
        connections: Connections,
        rule: Any,
        size: RuleSize,
        kernels: Kernels,
        *,
        ticks: int,
        inhibition: bool = False,
        credited: bool = False,
        segment: int = 1,
        storage: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.connections = connections
        self.rule = rule
        self.size = size
        self.kernels = kernels
        self.ticks = ticks
        self.inhibition = inhibition
        self.segment = segment
        self.storage = storage
        self.credit = torch.zeros_like(connections.strength) if credited else None
        self.awake: Tensor | None = None

    @property
    def seen(self) -> Connections:
        """The connections as the cells see them."""
        return balanced(self.connections) if self.inhibition else self.connections

    def forward(self, x: Tensor, write: Write, batch: int) -> tuple[Tensor, Tensor]:
        """Present `x`: the cells [X, Y, Z, B, C] after T ticks and the activity [N, T, B]."""
        if self.awake is not None:
            write = _silencing(write, self.awake)
        cells, activity = self._present(x, write, batch)
        return cells if self.awake is None else cells * self.awake, activity

    def _present(self, x: Tensor, write: Write, batch: int) -> tuple[Tensor, Tensor]:
        if isinstance(self.rule, CellRule):
            how = Presentation(
                self.seen, self.kernels, write, self.ticks, self.segment, self.storage, self.credit
            )
            return present(how, x, self.rule.weights(), batch)
        cells = self.silence(batch).to(self.storage)
        return unroll(self.rule, self.seen, write, cells, x, self.ticks, self.segment)

    @torch.no_grad()
    def step(self, cells: Tensor) -> Tensor:
        """One tick of `forward`, without a graph, on cells [X, Y, Z, B, C] with x written on them.

        They come back rounded as they are stored between ticks, in float32.
        """
        if isinstance(self.rule, CellRule):
            activity = cells.new_empty(self.connections.cells, cells.shape[3])
            following = self.kernels.forward(self.seen, self.rule.weights(), cells, activity)
        else:
            following = tick(self.rule, self.seen, cells)
        return following.to(self.storage).float()

    def silence(self, batch: int) -> Tensor:
        """[X, Y, Z, B, C] zeros: the cells before the first tick."""
        shape = (*self.connections.dimensions, batch, self.size.channels)
        return torch.zeros(shape, device=self.connections.strength.device)


def _silencing(write: Write, awake: Tensor) -> Write:
    """`write`, after which the cells that are not awake are at zero, before every tick."""

    def silenced(cells: Tensor, x: Tensor) -> Tensor:
        written = write(cells, x)
        return written * awake if torch.is_grad_enabled() else written.mul_(awake)

    return silenced
