"""Geometry of the lattice and the plastic connections that exist on it.

A cell has 26 Moore neighbours. `OFFSETS[o]` is where neighbour `o` lies; a connection
(cell, o) carries the state of that neighbour *into* the cell. Only the connections that exist
are stored: one strength each, in the order of (cell, o), and 26 bits a cell that say which.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

Dimensions = tuple[int, int, int]

OFFSETS: tuple[Dimensions, ...] = tuple(
    (dx, dy, dz) for dx, dy, dz in product((-1, 0, 1), repeat=3) if (dx, dy, dz) != (0, 0, 0)
)
NEIGHBOURS = len(OFFSETS)


@dataclass(frozen=True)
class Connections:
    """The connections of a lattice of X x Y x Z cells, N = X * Y * Z, E of them existing."""

    dimensions: Dimensions
    periodic: bool  # x and y wrap; z never does
    mask: Tensor  # [N] int32, bit o set: the connection from neighbour o exists
    start: Tensor  # [N + 1] int64, where a cell's strengths begin
    strength: Tensor  # [E] float32

    @property
    def cells(self) -> int:
        return self.mask.numel()

    @property
    def count(self) -> int:
        return self.strength.numel()

    @cached_property
    def exists(self) -> Tensor:
        """[N, 26] bool, unpacked from the mask."""
        bits = torch.arange(NEIGHBOURS, device=self.mask.device, dtype=torch.int32)
        return (self.mask[:, None] >> bits).bitwise_and(1).bool()

    @cached_property
    def place(self) -> Tensor:
        """[E] int64, where each connection lies in [N, 26], flattened."""
        return self.exists.flatten().nonzero()[:, 0]

    @cached_property
    def cell(self) -> Tensor:
        """[E] int64, the cell each connection leads into."""
        return self.place // NEIGHBOURS

    @cached_property
    def source(self) -> Tensor:
        """[E] int64, the cell each connection comes from."""
        offset = self.place % NEIGHBOURS
        x, y, z = self.dimensions
        steps = torch.tensor(OFFSETS, device=self.mask.device).T
        source = torch.zeros_like(offset)
        for step, size, stride in zip(steps, (x, y, z), (y * z, z, 1), strict=True):
            source += (self.cell // stride % size + step[offset]) % size * stride
        return source

    def dense(self) -> Tensor:
        """[N, 26] strengths, 0 where there is no connection."""
        field = self.strength.new_zeros(self.cells * NEIGHBOURS)
        return field.index_copy_(0, self.place, self.strength).view(self.cells, NEIGHBOURS)

    @cached_property
    def by_offset(self) -> Tensor:
        """[26, N] strengths, 0 where there is no connection: neighbouring cells lie together."""
        return self.dense().t().contiguous()

    def incoming(self, values: Tensor) -> Tensor:
        """[N] sums over each cell's connections of `values` [E].

        By segments and not by `index_add_`, which adds in no fixed order on a GPU.
        """
        return torch.segment_reduce(values, "sum", offsets=self.start)

    def with_strength(self, strength: Tensor) -> "Connections":
        """The same wiring with other strengths [E]; what was unpacked once stays unpacked."""
        other = replace(self, strength=strength)
        for name in ("exists", "place", "cell", "source"):
            if name in self.__dict__:
                other.__dict__[name] = self.__dict__[name]
        return other

    def to(self, device: torch.device) -> "Connections":
        return replace(
            self,
            mask=self.mask.to(device),
            start=self.start.to(device),
            strength=self.strength.to(device),
        )


def cell_count(dimensions: Dimensions) -> int:
    x, y, z = dimensions
    return x * y * z


def possible(dimensions: Dimensions, periodic: bool) -> Tensor:
    """[N, 26] bool: the neighbours that lie inside the borders."""
    axes = [torch.arange(size) for size in dimensions]
    inside = torch.ones(*dimensions, NEIGHBOURS, dtype=torch.bool)
    for o, offset in enumerate(OFFSETS):
        for axis, (size, at, step) in enumerate(zip(dimensions, axes, offset, strict=True)):
            if periodic and axis < 2:
                continue
            shape = [1, 1, 1]
            shape[axis] = size
            inside[..., o] &= ((at + step >= 0) & (at + step < size)).view(shape)
    return inside.view(-1, NEIGHBOURS)


def pack(dimensions: Dimensions, periodic: bool, exists: Tensor, dense: Tensor) -> Connections:
    """Connections from `exists` [N, 26] bool and strengths `dense` [N, 26]."""
    bits = 1 << torch.arange(NEIGHBOURS, dtype=torch.int32)
    degree = exists.sum(1)
    start = torch.cat((degree.new_zeros(1), degree.cumsum(0)))
    mask = (exists * bits).sum(1, dtype=torch.int32)
    return Connections(dimensions, periodic, mask, start, dense[exists].float().contiguous())


def wire(
    dimensions: Dimensions,
    *,
    density: float,
    strengths: tuple[float, float],
    seed: int,
    periodic: bool = False,
) -> Connections:
    """A fresh lattice: a seeded random choice of connections with uniform random strengths.

    The choice is nested: the connections at a lower density are among those at a higher one.
    """
    generator = torch.Generator().manual_seed(seed)
    inside = possible(dimensions, periodic)
    rank = torch.rand(inside.shape, generator=generator)
    low, high = strengths
    dense = low + (high - low) * torch.rand(inside.shape, generator=generator)
    return pack(dimensions, periodic, _choose(inside, rank, density), dense)


def grow(
    old: Connections, dimensions: Dimensions, *, density: float, seed: int, periodic: bool = False
) -> Connections:
    """`old` on other dimensions: strengths interpolated, connections kept where density allows.

    Each new cell looks where it lies in the old lattice. A connection that exists there is
    preferred over one that does not; which of equals stay is a seeded random choice.
    """
    generator = torch.Generator().manual_seed(seed)
    inside = possible(dimensions, periodic)
    rank = torch.rand(inside.shape, generator=generator)
    existed = resample(old.exists.float(), old.dimensions, dimensions, "nearest-exact") > 0.5
    rank = torch.where(existed, rank - 1, rank)
    # Interpolate strengths over the connections that exist: their mean fills what is missing.
    present = resample(old.exists.float(), old.dimensions, dimensions, "trilinear")
    weighted = resample(old.dense(), old.dimensions, dimensions, "trilinear")
    mean = old.strength.mean() if old.count else torch.tensor(1.0)
    dense = torch.where(present > 1e-3, weighted / present.clamp_min(1e-3), mean)
    return pack(dimensions, periodic, _choose(inside, rank, density), dense)


def mean_strength(connections: Connections) -> Tensor:
    """[X, Y, Z] mean strength of each cell's incoming connections (0 where it has none)."""
    degree = connections.incoming(torch.ones_like(connections.strength))
    field = connections.incoming(connections.strength) / degree.clamp_min(1)
    return field.view(connections.dimensions)


def balanced(connections: Connections) -> Connections:
    """The same with the mean of its cell's incoming strengths taken off each strength."""
    mean = mean_strength(connections).flatten()
    return connections.with_strength(connections.strength - mean[connections.cell])


def resample(field: Tensor, old: Dimensions, new: Dimensions, mode: str = "trilinear") -> Tensor:
    """`field` [N_old, ...] over the old lattice's cells, interpolated to the new one's."""
    if old == new:
        return field
    volume = field.reshape(*old, -1).permute(3, 0, 1, 2)[None]
    resized = functional.interpolate(volume, size=new, mode=mode)[0].permute(1, 2, 3, 0)
    return resized.reshape(cell_count(new), *field.shape[1:])


def around(dimensions: Dimensions, share: float, centre: Sequence[float] = ()) -> Tensor:
    """[X, Y, Z] bool: the sphere that is a `share` of the cells, about the lattice's middle.

    `centre` is in cells along x, y and z; of cells equally far those that come first are in it.
    """
    middle = torch.tensor(centre or [(size - 1) / 2 for size in dimensions])
    at = torch.cartesian_prod(*(torch.arange(float(size)) for size in dimensions))
    nearest = (at - middle).square().sum(1).argsort(stable=True)[: round(share * len(at))]
    return torch.zeros(len(at), dtype=torch.bool).index_fill_(0, nearest, True).view(dimensions)


def _choose(inside: Tensor, rank: Tensor, density: float) -> Tensor:
    """The `density` share of the possible connections with the lowest rank."""
    count = int(inside.sum())
    keep = round(density * count)
    if keep >= count:
        return inside
    threshold = rank[inside].kthvalue(max(keep, 1)).values
    return inside & (rank <= threshold)
