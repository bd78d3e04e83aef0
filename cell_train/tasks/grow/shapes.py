"""Shapes to grow, drawn for any grid: colours and opacity of every voxel, [X, Y, Z, 4] in 0..1.

Each shape is a function of the voxels' centres in -1..1 along x, y and z (0 along an axis of one
cell): what is inside, and its colour there. Colours are multiplied by opacity: empty voxels are 0.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
Part = tuple[NDArray[np.bool_], tuple[float, float, float]]
Draw = Callable[[Field, Field, Field], list[Part]]


def tree(x: Field, y: Field, z: Field) -> list[Part]:
    """A fir in a pot, with a star of one voxel layer: z is up."""
    across = np.hypot(x, y)
    return [
        ((z < -0.6) & (across < 0.34), (0.85, 0.35, 0.2)),
        ((z >= -0.6) & (z < -0.3) & (across < 0.2), (0.45, 0.28, 0.15)),
        ((z >= -0.3) & (z < 0.25) & (across < 0.72 - 0.75 * (z + 0.3)), (0.12, 0.55, 0.25)),
        ((z >= 0.25) & (z < 0.85) & (across < 0.52 - 0.75 * (z - 0.25)), (0.2, 0.7, 0.3)),
    ]


def ring(x: Field, y: Field, z: Field) -> list[Part]:
    """A torus whose quarters have four colours."""
    inside = (np.hypot(x, y) - 0.55) ** 2 + z**2 < 0.28**2
    colours = ((0.9, 0.3, 0.25), (0.95, 0.75, 0.2), (0.25, 0.6, 0.9), (0.4, 0.75, 0.35))
    quarters = ((x >= 0) & (y >= 0), (x < 0) & (y >= 0), (x < 0) & (y < 0), (x >= 0) & (y < 0))
    return [(inside & quarter, colour) for quarter, colour in zip(quarters, colours, strict=True)]


def mushroom(x: Field, y: Field, z: Field) -> list[Part]:
    """A white stem below a red cap with a pale underside."""
    across = np.hypot(x, y)
    cap = (across / 0.82) ** 2 + ((z - 0.05) / 0.72) ** 2 < 1
    return [
        ((z < 0.1) & (z > -0.85) & (across < 0.3), (0.95, 0.9, 0.8)),
        (cap & (z >= 0.05) & (z < 0.2), (0.95, 0.7, 0.55)),
        (cap & (z >= 0.2), (0.85, 0.15, 0.15)),
    ]


SHAPES: Mapping[str, Draw] = {"mushroom": mushroom, "ring": ring, "tree": tree}


def draw(name: str, dimensions: tuple[int, int, int]) -> Field:
    """[X, Y, Z, 4], the shape `name` on a grid: red, green, blue, opacity."""
    axes = [((2 * np.arange(size) + 1) / size - 1).astype(np.float32) for size in dimensions]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    voxels = np.zeros((*dimensions, 4), np.float32)
    for inside, colour in SHAPES[name](x, y, z):
        voxels[inside] = (*colour, 1.0)
    return voxels
