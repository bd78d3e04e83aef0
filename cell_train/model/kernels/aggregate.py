"""The one operation the lattice is made of: K weighted sums over each cell's neighbours.

    sums_k(cell) = sum_o kernel[k, o] * strength(cell, o) * state(neighbour o)

Differentiable in kernel and state; strengths belong to plasticity and have no gradient. The
backward needs nothing but the inputs. `plain_gather` is the definition, by shifted views; a
compiled library brings its own pair (`cpp.Library.gather`).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from cell_train.model.lattice import OFFSETS, Connections

Gather = Callable[[Connections, Tensor, Tensor], Tensor]
"""(connections, kernel [K, 26], cells [X, Y, Z, B, C]) -> sums [X, Y, Z, K, B, C]."""

GatherBack = Callable[[Connections, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(connections, kernel, cells, gradient of the sums) -> gradients of cells and kernel."""


def plain_gather(connections: Connections, kernel: Tensor, cells: Tensor) -> Tensor:
    """[X, Y, Z, K, B, C] by 26 shifted views of the padded cells."""
    strength = connections.dense().view(*connections.dimensions, 1, 1, len(OFFSETS))
    sums = cells.new_zeros(*cells.shape[:3], len(kernel), *cells.shape[3:])
    for o, seen in enumerate(shifted(connections, cells)):
        weighted = strength[..., o] * seen
        for k, weights in enumerate(kernel):
            sums[:, :, :, k] += weights[o] * weighted
    return sums


def plain_gather_back(
    connections: Connections, kernel: Tensor, cells: Tensor, d_sums: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of `plain_gather`: the same views, read the other way."""
    strength = connections.dense().view(*connections.dimensions, 1, 1, len(OFFSETS))
    d_kernel = torch.zeros_like(kernel)
    d_cells = torch.zeros_like(cells)
    for o, seen in enumerate(shifted(connections, cells)):
        for k in range(len(kernel)):
            arrived = strength[..., o] * d_sums[:, :, :, k]
            d_kernel[k, o] = (arrived * seen).sum()
            _add_shifted_back(connections, d_cells, kernel[k, o] * arrived, OFFSETS[o])
    return d_cells, d_kernel


def aggregate(
    connections: Connections,
    kernel: Tensor,
    cells: Tensor,
    gather: Gather = plain_gather,
    gather_back: GatherBack = plain_gather_back,
) -> Tensor:
    """The sums [X, Y, Z, K, B, C], differentiable in `kernel` [K, 26] and `cells`."""
    return _Aggregate.apply(  # type: ignore[no-untyped-call] # torch's
        connections, kernel, cells, gather, gather_back
    )


class _Aggregate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        connections: Connections,
        kernel: Tensor,
        cells: Tensor,
        gather: Gather,
        gather_back: GatherBack,
    ) -> Tensor:
        ctx.save_for_backward(kernel, cells)
        ctx.connections, ctx.gather_back = connections, gather_back
        return gather(connections, kernel, cells)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        kernel, cells = ctx.saved_tensors
        d_cells, d_kernel = ctx.gather_back(ctx.connections, kernel, cells, gradients[0])
        return None, d_kernel, d_cells, None, None


def shifted(connections: Connections, cells: Tensor) -> list[Tensor]:
    """26 views of padded `cells` [X, Y, Z, ...]: at each cell the state of neighbour o."""
    x, y, z = connections.dimensions
    flat = cells.reshape(x, y, z, -1)
    if connections.periodic:
        flat = torch.cat((flat[-1:], flat, flat[:1]), 0)
        flat = torch.cat((flat[:, -1:], flat, flat[:, :1]), 1)
        padded = functional.pad(flat, (0, 0, 1, 1))
    else:
        padded = functional.pad(flat, (0, 0, 1, 1, 1, 1, 1, 1))
    padded = padded.unflatten(-1, cells.shape[3:])
    return [
        padded[1 + dx : 1 + dx + x, 1 + dy : 1 + dy + y, 1 + dz : 1 + dz + z]
        for dx, dy, dz in OFFSETS
    ]


def _add_shifted_back(
    connections: Connections, into: Tensor, arrived: Tensor, offset: tuple[int, int, int]
) -> None:
    """Add what each cell received from neighbour `offset` to that neighbour, in place."""
    if connections.periodic:
        arrived = arrived.roll(offset[:2], (0, 1))
        offset = (0, 0, offset[2])
    there, here = [], []
    for step, size in zip(offset, connections.dimensions, strict=True):
        there.append(slice(max(step, 0), size + min(step, 0)))
        here.append(slice(max(-step, 0), size + min(-step, 0)))
    into[tuple(there)] += arrived[tuple(here)]
