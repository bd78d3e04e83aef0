"""Fields of two equations by solvers that know nothing of the lattice: numpy alone."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def heat(fields: Array, rate: float, steps: int) -> Array:
    """[N, steps, X, Y, Z, 1] of fields [N, X, Y, Z]: exact, through the Laplacian's eigenvectors.

    du/dt = rate * (sum over the 6 neighbours of u_n - u), nothing flows out of the borders.
    """
    found = []
    for _ in range(steps):
        for axis, size in enumerate(fields.shape[1:], 1):
            laplacian = np.diag(np.ones(size - 1), 1) + np.diag(np.ones(size - 1), -1)
            laplacian -= np.diag(laplacian.sum(1))
            values, vectors = np.linalg.eigh(laplacian)
            flow = vectors @ np.diag(np.exp(rate * values)) @ vectors.T
            fields = np.moveaxis(np.tensordot(fields, flow, (axis, 0)), -1, axis)
        found.append(fields[..., None])
    return np.stack(found, 1)


def gray_scott(
    fields: Array, steps: int, *, feed: float = 0.04, kill: float = 0.06, inner: int = 8
) -> Array:
    """[N, steps, X, Y, Z, 2] of fields [N, X, Y, Z, 2], u and v: explicit Euler in small steps.

    du/dt = 0.16 lap u - u v^2 + feed (1 - u), dv/dt = 0.08 lap v + u v^2 - (feed + kill) v, over
    one unit of time a step, nothing flowing out of the borders.
    """
    found, width = [], np.array([0.16, 0.08])
    for _ in range(steps):
        for _ in range(inner):
            padded = np.pad(fields, ((0, 0), (1, 1), (1, 1), (1, 1), (0, 0)), mode="edge")
            inside = [slice(1, -1)] * 3
            around = sum(
                padded[(slice(None), *inside[:axis], there, *inside[axis + 1 :])]
                for axis in range(3)
                for there in (slice(0, -2), slice(2, None))
            )
            u, v = fields[..., 0], fields[..., 1]
            meeting = u * v * v
            reaction = np.stack((feed * (1 - u) - meeting, meeting - (feed + kill) * v), -1)
            fields = fields + (width * (around - 6 * fields) + reaction) / inner
        found.append(fields)
    return np.stack(found, 1)


def smooth(random: np.random.Generator, count: int, dimensions: tuple[int, int, int]) -> Array:
    """[N, X, Y, Z], smoothed noise between 0 and 1."""
    noise = random.random((count, *dimensions))
    return heat(noise, 0.5, 1)[:, 0, ..., 0]


def spots(random: np.random.Generator, count: int, dimensions: tuple[int, int, int]) -> Array:
    """[N, X, Y, Z, 2], u = 1 and v = 0 but for a few cubes."""
    fields = np.zeros((count, *dimensions, 2))
    fields[..., 0] = 1
    for one in fields:
        for _ in range(3):
            corner = [int(random.integers(0, max(size - 2, 1))) for size in dimensions]
            one[tuple(slice(at, at + 3) for at in corner)] = (0.5, 0.25 + 0.2 * random.random())
    return fields
