"""A batch presented to the lattice: what training, probes and evaluations have in common."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from cell_train.model.network import Network
from cell_train.tasks import base as tasks
from cell_train.tasks.base import Batch


def shown(
    network: Network, task: Any, batch: Batch, *, credit: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The last cells [X, Y, Z, B, C] and the activity [N, T, B]."""
    ends = [batch.ticks or network.ticks]
    ((cells, activity),) = parts(network, task, batch, ends, credit=credit)
    return cells, activity


def parts(
    network: Network,
    task: Any,
    batch: Batch,
    ends: list[int],
    *,
    credit: Tensor | None = None,
    seed: int = 0,
) -> Iterator[tuple[Tensor, Tensor]]:
    """The cells after each of `ends` ticks, ascending, and the activity since the one before."""
    device = network.connections.strength.device
    x, cells, done = tasks.present(task, batch, device), tasks.initial(task, batch, device), 0
    for end in ends:
        cells, activity = network(
            x, task.write, batch.size, credit, start=cells, ticks=end - done, seed=seed + done
        )
        done = end
        yield cells, activity


def looks(ticks: int, reads: int) -> list[int]:
    """After how many of T ticks a presentation is read `reads` times: evenly over its second half.

    The last is at its end; with few ticks, fewer times.
    """
    return sorted({round(ticks * (reads + n) / (2 * reads)) for n in range(1, reads + 1)})
