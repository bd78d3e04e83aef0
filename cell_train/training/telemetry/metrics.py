"""The figures a stage in training reports: while it goes on, and at its end."""

import math
import resource
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import torch

from cell_train.tasks.base import Evaluation
from cell_train.training import checkpoint

if TYPE_CHECKING:
    from cell_train.training.trainer import Trainer


def progress(trainer: "Trainer") -> dict[str, Any]:
    """What a `step` event says, but its epoch."""
    totals, machine = trainer.totals, trainer.machine
    seconds = max(totals.seconds, 1e-9)
    work = machine.network.connections.cells * machine.network.ticks * totals.samples
    return {
        "step": totals.step,
        "steps": trainer.steps,
        "loss": finite(totals.loss),
        "cosine": finite(totals.cosine),
        "cells_per_second": round(work / seconds),
        "active": round(totals.active, 4),
        "change": totals.change / max(totals.step, 1),
        "memory_bytes": _memory_now(machine.device),
        "seconds_left": round((trainer.steps - totals.step) / max(totals.step / seconds, 1e-9), 1),
    }


def row(trainer: "Trainer", evaluation: Evaluation, path: Path) -> dict[str, Any]:
    """A completed stage's row of the summary."""
    stage, totals = trainer.resolved.stage, trainer.totals
    adaptation, machine = trainer.adaptation, trainer.machine
    plastic = stage.plasticity.enable_plasticity
    best = checkpoint.best(trainer.folder)
    return {
        "status": "completed",
        "dimensions": list(machine.network.connections.dimensions),
        "connection_density": stage.lattice.connection_density,
        "plasticity_profile": stage.plasticity_profile,
        "epochs": stage.epochs,
        "samples": totals.samples,
        "seconds": round(time.monotonic() - trainer._started, 3),
        "peak_bytes": _memory_peak(machine.device),
        "loss": finite(totals.loss),
        "primary": machine.task.primary,
        "metrics": {name: finite(value) for name, value in evaluation.metrics.items()},
        "clusters": adaptation.clustering["clusters"] if adaptation.clustering else None,
        "clustering": adaptation.clustering,
        "clusterings": adaptation.clusterings if adaptation.clusterings else None,
        "mean_abs_change": totals.change / max(totals.step, 1) if plastic else None,
        "rollbacks": totals.rollbacks,
        "checkpoint": str(path),
        "best_checkpoint": str(best) if best else None,
    }


def finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _memory_now(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return int(psutil.Process().memory_info().rss)


def _memory_peak(device: torch.device) -> int:
    """Peak allocated memory on a GPU, peak resident memory of the process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with suppress(OSError, IndexError):
        # What getrusage says would include a larger parent, whose memory an exec'd child inherits.
        return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
