"""The lattice as a module: plasticity changes its connections, the optimizer its rule."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from cell_train.model.autograd_rollout import tick as one_tick
from cell_train.model.autograd_rollout import unroll
from cell_train.model.cell_rule import CellRule, RuleSize
from cell_train.model.kernels.select import Kernels
from cell_train.model.lattice import Connections, balanced
from cell_train.model.rollout import Luck, Presentation, Write, present


class Network(nn.Module):
    """Cells, their connections and their shared rule; strengths have no gradient.

    `rule` is a CellRule, which the kernels know, or any module that maps (connections, cells) to
    the cells a tick later. All else stays as it was made: `with_connections`, `silenced` and
    `lasting` give another network that shares the rule. Cells where `awake` [X, Y, Z, 1, 1] is 0
    are held at zero.
    """

    def __init__(
        self,
        connections: Connections,
        rule: Any,
        size: RuleSize,
        kernels: Kernels,
        *,
        ticks: int,
        update_probability: float = 1.0,
        inhibition: bool = False,
        segment: int = 1,
        storage: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.connections = connections
        self.rule = rule
        self.size = size
        self.kernels = kernels
        self.ticks = ticks
        self.update_probability = update_probability
        self.inhibition = inhibition
        self.segment = segment
        self.storage = storage
        self.awake: Tensor | None = None

    def with_connections(self, connections: Connections) -> "Network":
        """The same with other connections: what plasticity makes, between optimizer steps."""
        return self._with(connections=connections)

    def silenced(self, awake: Tensor) -> "Network":
        """The same with the cells held at zero where `awake` [X, Y, Z, 1, 1] is 0."""
        return self._with(awake=awake)

    def lasting(self, ticks: int) -> "Network":
        """The same with presentations of so many ticks, of which the last state alone is stored."""
        return self._with(ticks=ticks, segment=ticks)

    def _with(self, **changes: Any) -> "Network":
        other = copy.copy(self)  # parameters and modules are shared
        for name, value in changes.items():
            setattr(other, name, value)
        return other

    @property
    def seen(self) -> Connections:
        """The connections as the cells see them."""
        return balanced(self.connections) if self.inhibition else self.connections

    def credit(self) -> Tensor:
        """[E] for `forward`: what its `grad` holds after a backward pass under a CellRule is the
        credit that plasticity/three_factor.py goes by; it adds up over passes."""
        # Its values are never read: one number stands for them all and takes no memory.
        zero = torch.zeros(1, device=self.connections.strength.device)
        return zero.expand(self.connections.count).requires_grad_()

    def forward(
        self,
        x: Tensor,
        write: Write,
        batch: int,
        credit: Tensor | None = None,
        *,
        start: Tensor | None = None,
        ticks: int | None = None,
        seed: int = 0,
    ) -> tuple[Tensor, Tensor]:
        """Present `x`: the cells [X, Y, Z, B, C] after T ticks and the activity [N, T, B].

        It begins from `start`, or from silence; `seed` draws which cells take part in a tick.
        """
        if self.awake is not None:
            write = _silencing(write, self.awake)
        luck = Luck(self.update_probability, seed) if self.update_probability < 1 else None
        count = self.ticks if ticks is None else ticks
        if isinstance(self.rule, CellRule):
            how = Presentation(
                self.seen, self.kernels, write, count, self.segment, self.storage, luck
            )
            cells, activity = present(how, x, self.rule.weights(), batch, credit, start)
        else:
            cells = (self.silence(batch) if start is None else start).to(self.storage)
            cells, activity = unroll(
                self.rule, self.seen, write, cells, x, count, self.segment, luck
            )
        return cells if self.awake is None else cells * self.awake, activity

    @torch.no_grad()
    def step(self, cells: Tensor, tick: int = 0) -> Tensor:
        """One tick of `forward`, without a graph, on cells [X, Y, Z, B, C] with x written on them.

        They come back rounded as they are stored between ticks, in float32. The tick's number draws
        the cells that take part, where not all do.
        """
        if isinstance(self.rule, CellRule):
            activity = cells.new_empty(self.connections.cells, cells.shape[3])
            following = self.kernels.forward(self.seen, self.rule.weights(), cells, activity)
        else:
            following = one_tick(self.rule, self.seen, cells)
        if self.update_probability < 1:
            chosen = Luck(self.update_probability, 0).drawn(tick, cells)
            following = torch.where(chosen, following, cells)
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
