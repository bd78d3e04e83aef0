"""The .npz file of a voxels task: read, checked, and described before anything is trained."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cell_train.errors import DataError

Array = NDArray[np.float32]
NAMES = ("x", "y", "mask", "x_held_out", "y_held_out")
HELD_OUT = 10  # the last tenth is held out where the file says nothing else


@dataclass(frozen=True)
class Voxels:
    """Arrays as a stage trains on them; y is class numbers with the loss ce."""

    x: Array  # [N, X, Y, Z, c]
    y: Array  # [N, X, Y, Z, d]
    x_held_out: Array  # [M, X, Y, Z, c]
    y_held_out: Array  # [M, R, X, Y, Z, d], after each of R steps
    mask: Array | None  # [X, Y, Z], 1 where a voxel counts
    classes: int  # channels read: those of y, or with ce its classes


def load(path: Path, loss: str) -> Voxels:
    """The arrays of a file. Raises DataError naming what is wrong with it."""
    arrays = _arrays(path)
    for name in ("x", "y"):
        if name not in arrays:
            raise DataError(f"{path}: has no array {name!r}; it needs x [N, X, Y, Z, c] and y")
    x, y = arrays["x"], arrays["y"]
    _check(path, "x", x, 5)
    _check(path, "y", y, 5)
    if x.shape[:4] != y.shape[:4]:
        raise DataError(
            f"{path}: x is {list(x.shape)} and y {list(y.shape)}; they must agree in [N, X, Y, Z]"
        )
    grid, mask = x.shape[1:4], arrays.get("mask")
    if mask is not None and mask.shape != grid:
        raise DataError(f"{path}: mask is {list(mask.shape)}, not [X, Y, Z] {list(grid)}")
    if mask is not None and not mask.any():
        raise DataError(f"{path}: mask leaves no voxel")
    x, y, x_held_out, y_held_out = _split(path, arrays, x, y)
    if loss == "bce" and not np.isin(y, (0, 1)).all():
        raise DataError(f"{path}: y must be 0 or 1 with voxels.loss bce; mse takes any number")
    classes = y.shape[4]
    if loss == "ce":
        if y.shape[4] != 1 or (y < 0).any() or (y != np.round(y)).any():
            raise DataError(
                f"{path}: y must be [N, X, Y, Z, 1] whole numbers from 0 with voxels.loss ce,"
                " the class of each voxel"
            )
        classes = int(max(y.max(), y_held_out.max())) + 1
    return Voxels(x, y, x_held_out, y_held_out, mask, classes)


def _arrays(path: Path) -> dict[str, Array]:
    try:
        with np.load(path, allow_pickle=False) as loaded:
            if isinstance(loaded, np.ndarray):
                raise DataError(f"{path}: is one array; voxels.path takes a .npz file with x and y")
            found = {name: loaded[name] for name in NAMES if name in loaded.files}
    except DataError:
        raise
    except Exception as error:  # a zip of a stranger's may raise anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: cannot be read ({reason}); check voxels.path") from error
    for name, array in found.items():
        if array.dtype.kind not in "fiub" or not np.isfinite(array).all():
            raise DataError(f"{path}: {name} must hold finite numbers, not {array.dtype}")
    return {name: array.astype(np.float32) for name, array in found.items()}


def _split(path: Path, arrays: dict[str, Array], x: Array, y: Array) -> tuple[Array, ...]:
    """What is trained on and what is held out: the file's own arrays, or the last tenth."""
    asked, wanted = arrays.get("x_held_out"), arrays.get("y_held_out")
    if (asked is None) != (wanted is None):
        raise DataError(f"{path}: x_held_out and y_held_out go together; one of them is missing")
    if asked is None or wanted is None:
        kept = len(x) - max(len(x) // HELD_OUT, 1)
        if kept < 1:
            raise DataError(f"{path}: has {len(x)} samples; it needs 2 at least, one to hold out")
        return x[:kept], y[:kept], x[kept:], y[kept:, None]
    if wanted.ndim == 5:
        wanted = wanted[:, None]
    _check(path, "x_held_out", asked, 5)
    _check(path, "y_held_out", wanted, 6)
    shapes = (asked.shape[1:], wanted.shape[2:], len(asked))
    if shapes != (x.shape[1:], y.shape[1:], len(wanted)):
        raise DataError(
            f"{path}: x_held_out {list(asked.shape)} and y_held_out {list(wanted.shape)} must be"
            f" samples as x {list(x.shape)} and y {list(y.shape)} are"
        )
    if wanted.shape[1] > 1 and x.shape[4] != y.shape[4]:
        raise DataError(
            f"{path}: y_held_out has {wanted.shape[1]} steps, but an answer of {y.shape[4]}"
            f" channels cannot be put in again where x has {x.shape[4]}"
        )
    return x, y, asked, wanted


def _check(path: Path, name: str, array: Array, axes: int) -> None:
    if array.ndim != axes or 0 in array.shape:
        wanted = "[N, X, Y, Z, channels]" if axes == 5 else "[M, steps, X, Y, Z, channels]"
        flat = "; data of fewer dimensions have axes of 1" if array.ndim < axes else ""
        raise DataError(f"{path}: {name} is {list(array.shape)}, not {wanted}{flat}")
