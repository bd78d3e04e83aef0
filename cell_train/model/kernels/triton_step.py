"""The step on CUDA in Triton: gather, shared rule and gated update in one program.

Checked by Triton's interpreter, which runs it on a CPU, and compiled for NVIDIA architectures
without one being there; not yet run on hardware. `kernels.choose` therefore takes it only after
comparing it with the definition on the device itself.

Cells may be given in half precision: they are read as they are, and what follows is rounded as it
is stored. Widths are padded to powers of two and masked. Sums over programs go through partial
buffers that torch adds up: without atomics, results repeat.
"""

import functools
from dataclasses import dataclass
from typing import Any

import torch
import triton
from torch import Tensor

from cell_train import limits
from cell_train.model.cell_rule import RuleWeights
from cell_train.model.kernels import triton_dot, triton_programs
from cell_train.model.kernels.triton_parts import DEEP, WIDE
from cell_train.model.lattice import NEIGHBOURS, Connections

# Programs that sum gradients before torch adds them up: enough to fill a GPU, and fixed, so that
# the order of the sum does not depend on which GPU it is.
PROGRAMS = limits.GRADIENT_PROGRAMS
SLAB = limits.GRADIENT_SLAB  # bytes: few enough that they stay in the GPU's cache
ENDS = 32  # cells a program of the dot over connections handles
LENGTH = 64  # numbers it multiplies at once
OPTIONS: dict[str, Any] = {"num_stages": 1, "enable_fp_fusion": True}


@dataclass(frozen=True)
class Shape:
    """How the work is laid out: constants of the programs."""

    channels: int  # C
    kernels: int  # K
    hidden: int  # H
    channels_padded: int  # to a power of two of at least 16: a matrix product takes no less
    hidden_padded: int
    cells: int  # a program handles, a block of the lattice
    samples: int  # of each
    even: bool  # no program has samples to spare
    warps: int

    @property
    def rows(self) -> int:
        return self.cells * self.samples

    @property
    def met(self) -> int:
        """Numbers a row leaves for the weights' gradients."""
        return (3 + self.kernels) * self.channels + 2 * self.hidden


def shape(rule: RuleWeights, batch: int) -> Shape:
    """The layout for rules of this width: of wider ones a program takes fewer rows, so that what
    it holds stays in registers (`scripts/bench.py triton`)."""
    c, k, h = rule.b2.numel() // 2, rule.kernel.shape[0], rule.b1.numel()
    cp, hp = (max(triton.next_power_of_2(n), 16) for n in (c, h))
    wide = max(cp // 16, hp // 32, 1)
    most = max(4 // wide, 1)
    samples = next(n for n in (4, 2, 1) if n <= most and triton.cdiv(batch, n) * n <= 1.125 * batch)
    cells, warps = (32, 4) if wide == 1 else (16, 8)
    return Shape(c, k, h, cp, hp, cells, samples, batch % samples == 0, warps)


def forward(connections: Connections, rule: RuleWeights, cells: Tensor, activity: Tensor) -> Tensor:
    """One tick; `activity` [N, B] is filled in place and may be a slice of a larger record."""
    cells = cells.contiguous()
    following = torch.empty_like(cells)
    how = shape(rule, cells.shape[3])
    triton_programs.step_forward[(_items(connections, cells, how),)](
        cells, following, activity, *_weights(rule), connections.by_offset, *activity.stride(),
        *connections.dimensions, cells.shape[3], connections.periodic,
        *_constants(how), how.cells, how.samples, how.even, tensor_cores(cells.device),
        num_warps=how.warps, **OPTIONS,
    )  # fmt: skip
    return following


def backward(
    connections: Connections, rule: RuleWeights, cells: Tensor, d_next: Tensor
) -> tuple[Tensor, RuleWeights]:
    """Gradients of one tick; the forward is recomputed cell by cell, nothing was stored."""
    cells, d_next, weights = cells.contiguous(), d_next.contiguous(), _weights(rule)
    how, tf32 = shape(rule, cells.shape[3]), tensor_cores(cells.device)
    items = _items(connections, cells, how)
    slab = max(min(SLAB // (4 * how.met * how.rows), items), 1)
    d_cells = torch.empty_like(d_next)
    d_seen = d_next.new_empty(how.kernels * d_next.numel())
    met = d_next.new_empty(slab * how.rows * how.met)
    # 16 rows at a time in one warp, or in four where one has no room for the sums
    adding = min(triton.cdiv(slab * how.rows, 16), PROGRAMS)
    partial = d_next.new_zeros(adding, sum(w.numel() for w in rule[1:]))
    where = (*connections.dimensions, cells.shape[3], connections.periodic)
    for begin in range(0, items, slab):
        count = min(slab, items - begin)
        triton_programs.step_backward[(count,)](
            cells, d_next, d_cells, d_seen, met, *weights, connections.by_offset, begin, *where,
            *_constants(how), how.cells, how.samples, how.even, tf32,
            num_warps=how.warps, **OPTIONS,
        )  # fmt: skip
        triton_programs.step_weights[(adding,)](
            met, partial, count * how.rows, *_constants(how), 16, tf32,
            num_warps=1 if how.channels_padded * how.hidden_padded <= 512 else 4, **OPTIONS,
        )  # fmt: skip
    del met
    collecting = min(items, PROGRAMS)
    along = d_next.new_empty(collecting, *rule.kernel.shape)
    triton_programs.step_collect[(collecting,)](
        cells, d_cells, d_seen, along, weights[0], connections.by_offset, items, *where,
        how.channels, how.kernels, how.channels_padded, how.cells, how.samples, how.even,
        num_warps=how.warps, **OPTIONS,
    )  # fmt: skip
    parts = partial.sum(0).split([w.numel() for w in rule[1:]])
    shaped = [part.view(w.shape) for part, w in zip(parts, rule[1:], strict=True)]
    return d_cells, RuleWeights(along.sum(0), *shaped)


def connection_dot(connections: Connections, a: Tensor, b: Tensor) -> Tensor:
    """[E]: for each connection the inner product of `a` [N, L] at its cell, `b` at its source.

    Sums are float32.
    """
    product = torch.empty_like(connections.strength)
    triton_dot.connection_dot[(triton.cdiv(connections.cells, ENDS) * NEIGHBOURS,)](
        a.contiguous(), b.contiguous(), product, connections.mask, connections.start, a.shape[1],
        *connections.dimensions, connections.periodic, ENDS, LENGTH, **OPTIONS,
    )  # fmt: skip
    return product


@functools.cache
def tensor_cores(device: torch.device) -> bool:
    """Whether the device multiplies TF32 (compute capability 8 and later)."""
    return device.type != "cuda" or torch.cuda.get_device_capability(device)[0] >= 8


def _items(connections: Connections, cells: Tensor, how: Shape) -> int:
    """Blocks of cells times groups of samples."""
    x, y, z = connections.dimensions
    long = how.cells // (WIDE.value * DEEP.value)
    blocks = triton.cdiv(x, long) * triton.cdiv(y, WIDE.value) * triton.cdiv(z, DEEP.value)
    return int(blocks * triton.cdiv(cells.shape[3], how.samples))


def _weights(rule: RuleWeights) -> list[Tensor]:
    return [w.detach().contiguous() for w in rule]


def _constants(how: Shape) -> tuple[int, ...]:
    return how.channels, how.kernels, how.hidden, how.channels_padded, how.hidden_padded
