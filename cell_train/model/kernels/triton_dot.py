"""The Triton program behind plasticity: inner products of two histories over all connections."""

import triton
import triton.language as tl

from cell_train.model.kernels.triton_parts import OFFSETS


@triton.jit
def ones_below(bits: tl.tensor, o: tl.tensor) -> tl.tensor:
    """How many of the bits below bit `o` are set."""
    n = bits & ((1 << o) - 1)
    n = n - ((n >> 1) & 0x55555555)
    n = (n & 0x33333333) + ((n >> 2) & 0x33333333)
    n = (n + (n >> 4)) & 0x0F0F0F0F
    n = n + (n >> 8)
    return (n + (n >> 16)) & 31


@triton.jit
def neighbour(
    cell: tl.tensor, o: tl.tensor, X: tl.tensor, Y: tl.tensor, Z: tl.tensor,
    PERIODIC: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """The cells at offset `o` of `cell`, which must be there."""
    code = o + (o >= 13)  # offsets run through 3 x 3 x 3 without the centre
    x = cell // (Y * Z) + code // 9 - 1
    y = cell // Z % Y + code // 3 % 3 - 1
    if PERIODIC:
        x = tl.where(x < 0, x + X, tl.where(x >= X, x - X, x))
        y = tl.where(y < 0, y + Y, tl.where(y >= Y, y - Y, y))
    return (x * Y + y) * Z + cell % Z + code % 3 - 1


@triton.jit(do_not_specialize=["X", "Y", "Z"])
def connection_dot(
    a: tl.tensor, b: tl.tensor, product: tl.tensor, mask: tl.tensor, start: tl.tensor,
    length: tl.tensor, X: tl.tensor, Y: tl.tensor, Z: tl.tensor, PERIODIC: tl.constexpr,
    ENDS: tl.constexpr, LENGTH: tl.constexpr,
) -> None:  # fmt: skip
    """A program: one offset of ENDS cells."""
    o = tl.program_id(0) % OFFSETS
    cell = tl.program_id(0) // OFFSETS * ENDS + tl.arange(0, ENDS)
    bits = tl.load(mask + cell, cell < X * Y * Z, 0)
    exists = ((bits >> o) & 1) != 0
    there = neighbour(cell, o, X, Y, Z, PERIODIC)
    slot = tl.load(start + cell, exists, 0) + ones_below(bits, o)
    at, seen = a + cell.to(tl.int64) * length, b + there.to(tl.int64) * length
    total = tl.zeros([ENDS, LENGTH], tl.float32)
    for first in range(0, length, LENGTH):
        n = first + tl.arange(0, LENGTH)[None, :]
        both = exists[:, None] & (n < length)
        left = tl.load(at[:, None] + n, both, 0.0).to(tl.float32)
        total += left * tl.load(seen[:, None] + n, both, 0.0).to(tl.float32)
    tl.store(product + slot, tl.sum(total, 1), exists)
