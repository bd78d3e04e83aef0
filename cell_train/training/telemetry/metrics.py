"""The figures a stage in training reports: while it goes on, and at its end."""

import math
from pathlib import Path
from typing import Any

import torch

from cell_train.events.kinds import Progress, StageEnd
from cell_train.hardware.memory import taken_bytes
from cell_train.tasks.base import Evaluation
from cell_train.training import checkpoint
from cell_train.training.state import Job, State


def progress(state: State, job: Job, epoch: int) -> Progress:
    """Where training stands."""
    totals, network, steps = state.totals, state.model.network, job.schedule.steps
    seconds = max(totals.seconds, 1e-9)
    work = network.connections.cells * network.ticks * totals.samples
    return Progress(
        epoch=epoch,
        step=totals.step,
        steps=steps,
        loss=finite(totals.loss),
        cosine=finite(totals.cosine),
        cells_per_second=round(work / seconds),
        active=round(totals.active, 4),
        change=totals.change / max(totals.step, 1),
        memory_bytes=_memory_now(state.model.device),
        seconds_left=round((steps - totals.step) / max(totals.step / seconds, 1e-9), 1),
    )


def row(
    state: State,
    job: Job,
    evaluation: Evaluation,
    path: Path,
    emergence: dict[str, Any] | None,
) -> StageEnd:
    """A completed stage's row of the summary."""
    stage, totals, adaptation, model = job.stage, state.totals, state.adaptation, state.model
    plastic = stage.plasticity.enable_plasticity
    best = checkpoint.best(job.folder)
    return StageEnd(
        status="completed",
        dimensions=list(model.network.connections.dimensions),
        connection_density=stage.lattice.connection_density,
        plasticity_profile=stage.plasticity_profile,
        epochs=stage.epochs,
        samples=totals.samples,
        seconds=round(job.seconds(), 3),
        peak_bytes=_memory_peak(model.device),
        loss=finite(totals.loss),
        primary=model.task.primary,
        metrics={name: finite(value) for name, value in evaluation.metrics.items()},
        clusters=adaptation.clustering["clusters"] if adaptation.clustering else None,
        clustering=adaptation.clustering,
        clusterings=adaptation.clusterings if adaptation.clusterings else None,
        mean_abs_change=totals.change / max(totals.step, 1) if plastic else None,
        rollbacks=totals.rollbacks,
        inexact=state.inexact,
        checkpoint=str(path),
        best_checkpoint=str(best) if best else None,
        emergence=emergence,
    )


def finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _memory_now(device: torch.device) -> int:
    """Allocated on a GPU; on a CPU the process's memory without mapped files."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else taken_bytes()[0]


def _memory_peak(device: torch.device) -> int:
    """The most of it so far; on a GPU with what is lost between tensors."""
    return torch.cuda.max_memory_reserved(device) if device.type == "cuda" else taken_bytes()[1]
