"""What a stage leaves for the report: how its strengths are spread, and its lattice cell by cell.

Nothing here draws a random number or changes anything: a stage trains the same with and without.
"""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cell_train.analysis.spectrum import shells
from cell_train.config.schema import Stage
from cell_train.model import lattice
from cell_train.model.lattice import Connections
from cell_train.storage import write_text
from cell_train.tasks.faces import Faces
from cell_train.training.plasticity_step import inspect_periods, probe
from cell_train.training.state import Adaptation, Model

BINS = 40
MAX_CELLS = 50_000  # described cell by cell; of larger lattices every second cell along each axis


def strengths(connections: Connections, stage: Stage) -> dict[str, Any]:
    """The strengths' histogram over all they may be; what a `strengths` event says."""
    low, high = stage.lattice.strength_min, stage.lattice.strength_max
    values = connections.strength.cpu()
    counts = torch.histc(values.clamp(low, high), BINS, low, high)
    return {
        "low": low,
        "high": high,
        "mean": float(values.mean()) if values.numel() else None,
        "spread": float(values.std(correction=0)) if values.numel() else None,
        "counts": [int(count) for count in counts],
    }


def spectrum(connections: Connections) -> dict[str, Any]:
    """The mean-strength field's spectrum and whether it holds a wave; what `spectrum` says."""
    field = lattice.mean_strength(connections).cpu()
    found = shells(field)
    told = inspect_periods(field)[1]
    if found is not None:
        told |= {name: [_short(v) for v in column.tolist()] for name, column in vars(found).items()}
    return told


def write(path: Path, model: Model, adaptation: Adaptation, micro_batch: int) -> None:
    """Write lattice.json: each cell's cluster, incoming strength and activity, and the faces.

    Lists run over x, then y, then z. Raises OSError as the file system does.
    """
    connections = model.network.connections
    stride = next(s for s in itertools.count(1) if _thinned(connections.dimensions, s) <= MAX_CELLS)

    def listed(field: Tensor) -> list[Any]:
        thin = field.detach().cpu()[(slice(None, None, stride),) * field.ndim]
        return [_short(value) for value in thin.flatten().tolist()]

    activity = probe(model, micro_batch).mean(1).view(connections.dimensions)
    labels = adaptation.labels
    record = {
        "dimensions": [-(-side // stride) for side in connections.dimensions],
        "stride": stride,
        "cluster": None if labels is None else listed(labels.view(connections.dimensions)),
        "strength": listed(lattice.mean_strength(connections)),
        "activity": listed(activity),
        "faces": None,
    }
    faces = getattr(model.task, "faces", None)
    if isinstance(faces, Faces):
        record["faces"] = {
            "in": listed(faces.enter.float().norm(dim=(0, 3))),
            "out": listed(faces.leave.float().norm(dim=(2, 3))),
        }
    write_text(path, json.dumps(record) + "\n")


def _thinned(dimensions: lattice.Dimensions, stride: int) -> int:
    return math.prod(-(-side // stride) for side in dimensions)


def _short(value: float) -> float | None:
    """Five digits, as many as a picture shows; None where it is not finite."""
    if isinstance(value, int):
        return value
    return float(f"{value:.5g}") if math.isfinite(value) else None
