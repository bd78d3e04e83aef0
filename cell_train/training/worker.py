"""The process that trains one stage: resolved.yaml in, one JSON event a line out.

    python -m cell_train.training.worker RUN/stage-3/resolved.yaml --events-fd 5

Its standard input is a liveness pipe: at its end the parent is gone, and the worker checkpoints
and stops. SIGINT and SIGTERM do the same and end with 130 and 143.
"""

import argparse
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

import torch

from cell_train import events
from cell_train.config import resolve
from cell_train.config.schema import ResolvedStage
from cell_train.errors import (
    EXIT_INTERRUPTED,
    EXIT_TERMINATED,
    CelltrainError,
    OutOfMemory,
)
from cell_train.run_files import StageFiles, cache_folder
from cell_train.training import checkpoint
from cell_train.training.build import Machine, build
from cell_train.training.trainer import Interrupted, Trainer

EXIT_CODES = {"SIGINT": EXIT_INTERRUPTED, "SIGTERM": EXIT_TERMINATED}


def main() -> int:
    parser = argparse.ArgumentParser(description="Train one stage.")
    parser.add_argument("resolved", type=Path)
    parser.add_argument("--events-fd", type=int, required=True)
    arguments = parser.parse_args()
    asked: list[str] = []  # names of the signals that ask to stop, in order
    _listen(asked)
    with open(arguments.events_fd, "w", encoding="utf-8") as stream:
        return _train(arguments.resolved, stream, asked)


def _train(path: Path, stream: TextIO, asked: list[str]) -> int:
    stage = 0

    def emit(kind: str, **fields: Any) -> None:
        events.write(stream, kind, stage, **fields)

    try:
        resolved = resolve.read(path)
        stage = resolved.stage.stage
        trainer = prepare(resolved, StageFiles(path.parent), emit, lambda: bool(asked))
        emit("stage_end", **trainer.run())
    except Interrupted as stop:
        emit("interrupted", signal=asked[0], checkpoint=str(stop.path))
        return EXIT_CODES[asked[0]]
    except BrokenPipeError:
        return EXIT_TERMINATED  # the parent is gone and so is who would read the reason
    except Exception as error:
        traceback.print_exc()  # for the log; the parent gets the sentence
        known = _classify(error)
        emit("failed", error=type(known).__name__, message=str(known))
        return known.exit_code
    return 0


def prepare(resolved: ResolvedStage, files: StageFiles, emit: Any, should_stop: Any) -> Trainer:
    """A trainer at the stage's start, or where its newest sound checkpoint left it."""
    execution = resolved.execution
    if execution.threads:
        torch.set_num_threads(execution.threads)
    own, _, damaged = checkpoint.newest(files.checkpoints)
    for message in damaged:
        emit("log", level="warning", message=f"{message}; the one before is used")
    origin = checkpoint.load(Path(resolved.start_from)) if resolved.start_from else None
    machine = build(resolved, origin, cache_folder())
    trainer = Trainer(resolved, machine, files.checkpoints, emit, should_stop)
    if own is not None:
        trainer.resume(own)
    _announce(trainer, resolved, machine, emit)
    return trainer


def _announce(trainer: Trainer, resolved: ResolvedStage, machine: Machine, emit: Any) -> None:
    network = machine.network
    emit(
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
    )
    allocator = {k: v for k, v in os.environ.items() if k.startswith(("MALLOC_", "OMP_", "GOMP_"))}
    sys.stderr.write(
        f"stage {resolved.stage.stage}: {network.kernels.name} ({machine.kernel_reason}),"
        f" {torch.get_num_threads()} threads, {allocator}\n"
    )


def _listen(asked: list[str]) -> None:
    """Note SIGINT, SIGTERM and the end of the liveness pipe in `asked`."""

    def note(number: int, _: FrameType | None) -> None:
        asked.append(signal.Signals(number).name)

    def wait_for_parent() -> None:
        while os.read(0, 1024):
            pass
        asked.append("SIGTERM")

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, note)
    threading.Thread(target=wait_for_parent, daemon=True).start()


def _classify(error: Exception) -> CelltrainError:
    """The failure as one of ours, so that the parent ends with the right code."""
    if isinstance(error, CelltrainError):
        return error
    text = f"{type(error).__name__}: {error}".splitlines()[0]
    starved = isinstance(error, (MemoryError, torch.OutOfMemoryError))
    if starved or "can't allocate memory" in text or "DefaultCPUAllocator" in text:
        return OutOfMemory(f"memory ran out ({text})")
    return CelltrainError(f"the worker failed: {text}")


if __name__ == "__main__":
    sys.exit(main())
