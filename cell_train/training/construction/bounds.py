"""What the values of a stage's checkpoint can be: sizes, kinds of number, and how large.

Each check raises CheckpointError with the first thing that no stage of this size has saved. That
all tensors are whole and finite has been looked at before (checkpoint.py).
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from cell_train.errors import CheckpointError
from cell_train.plasticity.update import PlasticState
from cell_train.training.state import Adaptation, Totals

MOST = 1 << 62  # of a counter
LARGEST = 1e12  # of a loss scale, a threshold, a mean activity
SLACK = 1e-3  # of a strength's bounds, which float32 does not hit exactly


def is_row(value: Any, dtype: torch.dtype, count: int) -> bool:
    """Whether it is a tensor [count] of this type."""
    return isinstance(value, Tensor) and value.dtype == dtype and value.shape == (count,)


def check_totals(totals: Totals) -> None:
    """Counters that count, and means that are numbers."""
    for name in ("step", "samples", "bad_steps", "rollbacks"):
        value = getattr(totals, name)
        if type(value) is not int or not 0 <= value < MOST:
            raise CheckpointError(f"the checkpoint's {name} is {value!r}, which nothing counts to")
    for name in ("seconds", "loss", "cosine", "change", "active", "best"):
        value = getattr(totals, name)
        missing = value is None and name in ("cosine", "best")
        if not missing and (type(value) not in (int, float) or not math.isfinite(value)):
            raise CheckpointError(f"the checkpoint's {name} is {value!r}, which is no number")
    if totals.seconds < 0:
        raise CheckpointError(f"the checkpoint's seconds are {totals.seconds}")


def check_plastic(plastic: PlasticState, cells: int) -> None:
    """Thresholds and means of each cell, none of which a square makes negative."""
    fits = is_row(plastic.theta, torch.float32, cells)
    fits = fits and (plastic.mean is None or is_row(plastic.mean, torch.float32, cells))
    for value in (plastic.trace, plastic.residue):
        fits = fits and (value is None or _of_cells(value, cells))
    if not fits:
        raise CheckpointError("the plastic state in the checkpoint does not fit the stage's")
    for name, value in (("thresholds", plastic.theta), ("means", plastic.mean)):
        if value is not None and not bool(((value >= 0) & (value <= LARGEST)).all()):
            raise CheckpointError(f"{name} in the checkpoint lie where no activity leads")


def _of_cells(value: Any, cells: int) -> bool:
    floats = isinstance(value, Tensor) and value.dtype == torch.float32
    return floats and value.ndim in (2, 3) and value.shape[-2] == cells


def check_strengths(strength: Tensor, low: float, high: float) -> None:
    """Strengths [E] where the stage's bounds let them be."""
    slack = SLACK * max(abs(low), abs(high))
    if strength.numel() and not (
        float(strength.min()) >= low - slack and float(strength.max()) <= high + slack
    ):
        raise CheckpointError(
            f"strengths in the checkpoint reach from {float(strength.min()):.4g} to"
            f" {float(strength.max()):.4g}, the stage's from {low:g} to {high:g}"
        )


def check_adaptation(adaptation: Adaptation, cells: int, connections: int) -> None:
    """Labels of cells, and how alike the ends of connections are."""
    affinity = adaptation.affinity
    rows = [("labels", adaptation.labels), *(("past", labels) for labels in _past(adaptation))]
    for name, labels in rows:
        if labels is not None and not (
            is_row(labels, torch.int64, cells)
            and bool(((labels >= -1) & (labels < max(cells, 1))).all())
        ):
            raise CheckpointError(f"{name} in the checkpoint are no clusters of the stage's cells")
    if affinity is not None and not (
        is_row(affinity.cosine, torch.float32, connections)
        and is_row(affinity.together, torch.bool, connections)
        and bool((affinity.cosine.abs() <= 1 + SLACK).all())
    ):
        raise CheckpointError("affinities in the checkpoint are not those of its connections")
    for name in ("clusterings", "quiet_steps"):
        value = getattr(adaptation, name)
        if type(value) is not int or not 0 <= value < MOST:
            raise CheckpointError(f"the checkpoint's {name} is {value!r}, which nothing counts to")


def _past(adaptation: Adaptation) -> Iterator[Any]:
    for epoch, labels in adaptation.past:
        if type(epoch) is not int:
            raise CheckpointError("past clusters in the checkpoint are of no epoch")
        yield labels


def check_moments(index: int, moments: Mapping[str, Any], shape: torch.Size) -> None:
    """What the optimizer remembers of one parameter: its steps, a mean, and a mean of squares."""
    for name, value in moments.items():
        fits = isinstance(value, Tensor) and value.dtype == torch.float32
        if not fits or value.shape != (torch.Size() if name == "step" else shape):
            raise CheckpointError("the optimizer in the checkpoint does not fit the stage's")
        if name != "exp_avg" and float(value.min()) < 0:
            raise CheckpointError(f"{name} of parameter {index} in the checkpoint is negative")


def check_scaler(saved: Mapping[str, Any]) -> None:
    """A scale of the loss that is a positive number; empty where nothing is scaled."""
    for name, value in saved.items():
        sound = type(value) in (int, float) and math.isfinite(value) and 0 <= value <= LARGEST
        if not sound or (name == "scale" and value <= 0):
            raise CheckpointError(f"the loss scale's {name} in the checkpoint is {value!r}")
