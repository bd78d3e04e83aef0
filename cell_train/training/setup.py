"""A stage's trainer at its start, or where its newest sound checkpoint left it."""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from cell_train import cache, lived
from cell_train.config.schema import ResolvedStage
from cell_train.errors import CheckpointError
from cell_train.events.kinds import Log, StageStart
from cell_train.hardware import cores
from cell_train.model.cell_rule import CellRule
from cell_train.model.kernels.cpp import Keep
from cell_train.model.lattice import Dimensions
from cell_train.planning import bcm_stability
from cell_train.run_folder.paths import StageFiles
from cell_train.tasks import base as tasks
from cell_train.training import checkpoint
from cell_train.training.construction import exactness
from cell_train.training.construction.build import build
from cell_train.training.construction.saved import connections, interpreting
from cell_train.training.saving import Saver
from cell_train.training.schedule import Interval, schedule
from cell_train.training.state import Emit, Job, State
from cell_train.training.trainer import Trainer

BREATH = 10.0  # seconds between signs of life to the parent while nothing else is to be told


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
    torch.backends.cudnn.deterministic = True  # of its algorithms those whose results repeat
    # here alone: a run that is moved while it trains is not made again at its old place
    files.folder.mkdir(parents=True, exist_ok=True)
    checkpoints, keep = files.checkpoints, partial(cache.library, elsewhere=files.folder)
    state, newest = _continued(resolved, checkpoints, keep, emit)
    if state is None:
        origin = _load_origin(resolved.start_from)
        state = build(resolved, keep, origin=origin)
        state.computed = exactness.computed(state, execution)
        if origin and _of_this_run(resolved.start_from, files):
            state.inexact = exactness.changes(origin, state.computed, same_stage=False)
    if state.inexact:
        said = f"is not bit for bit that of a run never interrupted: {'; '.join(state.inexact)}"
        emit(Log(level="warning", message=f"the result {said}"))
    job = Job(
        resolved=resolved,
        schedule=schedule(resolved, state.model.task.size("train")),
        folder=checkpoints,
        emit=emit,
        should_stop=should_stop,
        alive=Interval(BREATH),
        started=lived.seconds() - state.totals.seconds,
    )
    _announce(state, job)
    _warn_of_the_step(state, job)
    warning = bcm_stability.cycling(resolved.stage)
    if warning:
        emit(Log(level="warning", message=warning))
    return Trainer(job, state, Saver(job, newest))


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


def _of_this_run(origin: str | None, files: StageFiles) -> bool:
    """Whether a checkpoint is of an earlier stage of the same run, not one that --from named."""
    return files.folder.parent in Path(origin or "").parents


def _continued(
    resolved: ResolvedStage, folder: Path, keep: Keep, emit: Emit
) -> tuple[State | None, Path | None]:
    """The stage as its newest checkpoint that will do left it; None where it is to begin anew."""
    wrong: list[str] = []
    unfit: str | None = None
    state, newest = None, None
    for saved, path in checkpoint.sound(folder, wrong):
        try:
            state, newest = build(resolved, keep, own=saved), path
            state.computed = exactness.computed(state, resolved.execution)
            state.inexact = exactness.changes(saved, state.computed)
            break
        except CheckpointError as error:
            unfit = unfit or f"{path}: {error}"
            wrong.append(f"{path}: {error}")
    for index, message in enumerate(wrong, 1):
        last = index == len(wrong) and newest is None
        what = "the stage begins anew" if last else "the one before is used"
        emit(Log(level="warning", message=f"{message}; {what}"))
    if unfit and newest is None:
        raise CheckpointError(f"{unfit}; move {folder} away to begin the stage anew")
    if state is not None:
        state.grown_from = _grown_from(resolved)
    return state, newest


def _grown_from(resolved: ResolvedStage) -> Dimensions | None:
    """The dimensions of the lattice that a stage begun before was grown from, if it was."""
    with suppress(CheckpointError, OSError):
        origin = _load_origin(resolved.start_from)
        if origin is not None:
            with interpreting():
                x, y, z = connections(origin["connections"]).dimensions
            return (x, y, z) if [x, y, z] != resolved.stage.lattice.dimensions else None
    return None


def _warn_of_the_step(state: State, job: Job) -> None:
    """Say on the screen where the step is slower than it could be, or is built again each time."""
    network, reason = state.model.network, state.kernel_reason
    if not isinstance(network.rule, CellRule):  # one of the user's own has no other
        return
    if network.kernels.name.startswith("plain") and job.stage.lattice.backend == "auto":
        message = f"the step runs in {network.kernels.name}, several times slower: {reason}"
        job.emit(Log(level="warning", message=message))
    elif "cannot be kept" in reason:
        job.emit(Log(level="warning", message=f"the compiled step: {reason}"))


def _announce(state: State, job: Job) -> None:
    resolved, network = job.resolved, state.model.network
    backend = f"{network.kernels.name} ({state.kernel_reason})"
    start = StageStart(
        dimensions=list(network.connections.dimensions),
        cells=network.connections.cells,
        connections=network.connections.count,
        parameters=sum(p.numel() for p in state.parameters()),
        ticks=network.ticks,
        epochs=resolved.stage.epochs,
        steps=job.schedule.steps,
        step=state.totals.step,
        backend=backend,
        threads=torch.get_num_threads(),
        inexact=state.inexact,
        started_from=resolved.start_from,
        grown_from=list(state.grown_from) if state.grown_from else None,
        control=resolved.stage.monitor.control,
        task=tasks.facts(state.model.task),
    )
    job.emit(start)
    allocator = {k: v for k, v in os.environ.items() if k.startswith(("MALLOC_", "OMP_", "GOMP_"))}
    threads = f"{torch.get_num_threads()} threads (load {cores.load()})"
    with suppress(OSError):  # a full disk must not end training for a line of the log
        sys.stderr.write(f"stage {resolved.number}: {backend}, {threads}, {allocator}\n")
