"""A presentation under a rule of the user's own: all that torch can differentiate.

What `rollout` does by hand for the built-in rule, autograd does here: states are kept at the start
of every segment of ticks, and all between them is computed again in the backward.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from cell_train.errors import ConfigError
from cell_train.model.lattice import Connections
from cell_train.model.rollout import Luck, Write

Rule = Callable[[Connections, Tensor], Tensor]
"""(connections, cells [X, Y, Z, B, C]) -> the cells a tick later; differentiable in cells."""


def unroll(
    rule: Rule,
    connections: Connections,
    write: Write,
    cells: Tensor,
    x: Tensor,
    ticks: int,
    segment: int,
    luck: Luck | None = None,
) -> tuple[Tensor, Tensor]:
    """T ticks from `cells`, of the type they are stored in, with `x` written before each.

    Returns the last cells [X, Y, Z, B, C] in float32 and the activity [N, T, B] (no gradient).
    """

    def run(cells: Tensor, x: Tensor, first: int, count: int) -> tuple[Tensor, Tensor]:
        storage, activity = cells.dtype, []
        for number in range(first, first + count):
            written = write(cells.float(), x)
            following = tick(rule, connections, written)
            if luck is not None:
                following = torch.where(luck.drawn(number, written), following, written)
            activity.append((following - written).detach().abs().mean(-1).flatten(0, 2))
            cells = following.to(storage)
        return cells, torch.stack(activity, 1)

    parts = []
    for first in range(0, ticks, segment):
        count = min(segment, ticks - first)
        cells, part = checkpoint(run, cells, x, first, count, use_reentrant=False)
        parts.append(part)
    return cells.float(), torch.cat(parts, 1)


def tick(rule: Rule, connections: Connections, cells: Tensor) -> Tensor:
    """The cells a tick later. Raises ConfigError where the rule does not give as many."""
    following = rule(connections, cells)
    if following.shape != cells.shape:
        raise ConfigError(
            f"lattice.rule: made cells {list(following.shape)} of cells {list(cells.shape)};"
            " it must keep their shape [X, Y, Z, B, C]."
        )
    return following
