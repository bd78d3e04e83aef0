"""A stage's trainer at its start, or where its newest sound checkpoint left it."""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from cell_train.config.schema import ResolvedStage
from cell_train.errors import CheckpointError
from cell_train.planning import bcm_stability
from cell_train.run_folder.paths import StageFiles
from cell_train.storage import cache_folder
from cell_train.training import checkpoint
from cell_train.training.build import build
from cell_train.training.trainer import Emit, Trainer


def prepare(
    resolved: ResolvedStage, files: StageFiles, emit: Emit, should_stop: Callable[[], bool]
) -> Trainer:
    """Build the stage and go on from its newest checkpoint that is sound and fits.

    Raises CheckpointError where its checkpoints are whole, but none is of this stage.
    """
    if resolved.stage.monitor.control != "none":
        resolved = _without_plasticity(resolved)
    execution = resolved.execution
    if execution.threads:
        torch.set_num_threads(execution.threads)
    origin = _load_origin(resolved.start_from)
    machine = build(resolved, origin, cache_folder())
    trainer = Trainer(resolved, machine, files.checkpoints, emit, should_stop)
    _resume(trainer)
    _announce(trainer)
    warning = bcm_stability.cycling(resolved.stage)
    if warning:
        emit("log", level="warning", message=warning)
    return trainer


def _without_plasticity(resolved: ResolvedStage) -> ResolvedStage:
    """The same stage with strengths that stay as they are."""
    plasticity = replace(
        resolved.stage.plasticity,
        enable_plasticity=False,
        enable_clustering=False,
        emergence_config=replace(
            resolved.stage.plasticity.emergence_config, morphology_tracking=False
        ),
    )
    return replace(resolved, stage=replace(resolved.stage, plasticity=plasticity))


def _load_origin(path: str | None) -> dict[str, Any] | None:
    return checkpoint.load(Path(path)) if path else None


def _resume(trainer: Trainer) -> None:
    """Go on from the newest checkpoint that will do, or from the start where all are damaged."""
    wrong: list[str] = []
    unfit: str | None = None
    for saved, path in checkpoint.sound(trainer.folder, wrong):
        try:
            trainer.resume(saved)
        except CheckpointError as error:
            unfit = unfit or f"{path}: {error}"
            wrong.append(f"{path}: {error}")
            continue
        trainer.last_path = path
        break
    for index, message in enumerate(wrong, 1):
        last = index == len(wrong) and trainer.last_path is None
        what = "the stage begins anew" if last else "the one before is used"
        trainer.emit("log", level="warning", message=f"{message}; {what}")
    if unfit and trainer.last_path is None:
        raise CheckpointError(f"{unfit}; move {trainer.folder} away to begin the stage anew")


def _announce(trainer: Trainer) -> None:
    resolved, machine = trainer.resolved, trainer.machine
    network = machine.network
    trainer.emit(
        "stage_start",
        dimensions=list(network.connections.dimensions),
        cells=network.connections.cells,
        connections=network.connections.count,
        parameters=sum(p.numel() for p in machine.parameters()),
        ticks=network.ticks,
        epochs=resolved.stage.epochs,
        steps=trainer.steps,
        step=trainer.totals.step,
        backend=f"{network.kernels.name} ({machine.kernel_reason})",
        threads=torch.get_num_threads(),
        started_from=resolved.start_from,
        grown_from=list(machine.grown_from) if machine.grown_from else None,
        control=resolved.stage.monitor.control,
        task=getattr(machine.task, "facts", dict)(),  # a task may tell something of itself
    )
    allocator = {k: v for k, v in os.environ.items() if k.startswith(("MALLOC_", "OMP_", "GOMP_"))}
    with suppress(OSError):  # a full disk must not end training for a line of the log
        sys.stderr.write(
            f"stage {resolved.stage.stage}: {network.kernels.name} ({machine.kernel_reason}),"
            f" {torch.get_num_threads()} threads, {allocator}\n"
        )
