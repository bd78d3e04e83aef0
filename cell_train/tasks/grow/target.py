"""The shape to grow: a built-in one, or voxels from a file."""

from pathlib import Path

import numpy as np

from cell_train.errors import DataError
from cell_train.tasks.grow.shapes import SHAPES, Field, draw

Dimensions = tuple[int, int, int]
SOLID = 0.5  # opacity from which a voxel counts as there


def load(name: str, dimensions: Dimensions) -> Field:
    """[X, Y, Z, 4] in 0..1, colours multiplied by opacity. Raises DataError where it is none."""
    voxels = draw(name, dimensions) if name in SHAPES else _from_file(Path(name), dimensions)
    if not (voxels[..., 3] > SOLID).any():
        raise DataError(f"{name}: no voxel of it is there on a lattice of {list(dimensions)}")
    return voxels


def middle(voxels: Field) -> Dimensions:
    """The voxel of the shape that is nearest to its middle, where its seed lies."""
    there = np.argwhere(voxels[..., 3] > SOLID)
    x, y, z = there[np.square(there - there.mean(0)).sum(1).argmin()].tolist()
    return x, y, z


def _from_file(path: Path, dimensions: Dimensions) -> Field:
    if path.suffix not in (".npy", ".npz"):
        known = ", ".join(SHAPES)
        raise DataError(f"{path}: grow.target takes {known}, or a .npy or .npz file of voxels")
    try:
        loaded = np.load(path, allow_pickle=False)
        array = loaded if isinstance(loaded, np.ndarray) else loaded[loaded.files[0]]
    except (OSError, ValueError, IndexError, EOFError) as error:
        raise DataError(f"{path}: cannot be read ({error}); check grow.target") from error
    if array.ndim != 4 or array.shape[3] not in (3, 4) or array.dtype.kind not in "fiu":
        raise DataError(
            f"{path}: holds numbers {list(array.shape)}; a shape is [X, Y, Z, 3 or 4]: red, green,"
            " blue, and opacity"
        )
    if array.shape[:3] != dimensions:
        raise DataError(
            f"{path}: has {list(array.shape[:3])} voxels, the lattice {list(dimensions)} cells;"
            f" set lattice.dimensions=[{','.join(map(str, array.shape[:3]))}]"
        )
    voxels = array.astype(np.float32)
    if array.dtype.kind in "iu":
        voxels /= 255
    if not np.isfinite(voxels).all() or voxels.min() < 0 or voxels.max() > 1:
        raise DataError(f"{path}: colours and opacities are in 0..1 (whole numbers in 0..255)")
    if voxels.shape[3] == 3:
        opacity = (voxels.max(3, keepdims=True) > 0).astype(np.float32)
        return np.concatenate((voxels, opacity), 3)
    voxels[..., :3] *= voxels[..., 3:]
    return voxels
