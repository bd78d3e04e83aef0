"""What a plan must know of a stage's task, without torch: numbers and bytes it adds, its data.

A built-in task has it in `tasks/NAME/plan.py`: `load(stage, how)` and `check(stage)`.
"""

import importlib
import math
from dataclasses import dataclass
from typing import Any

from cell_train.config import task_specs
from cell_train.config.schema import Stage

F = 4  # bytes of a float32


@dataclass(frozen=True)
class How:
    """How a step of the stage is run."""

    micro_batch: int
    accumulation: int
    on_cpu: bool  # else what is prepared on the CPU takes no memory of the device


@dataclass(frozen=True)
class Load:
    """What a task adds to a stage, in numbers unless it says bytes."""

    drive: int  # of a sample: written on the cells, and read from them
    training: int  # samples
    map: int = 0  # parameters of each of the two maps between cells and what is written or read
    decoder: int = 0  # parameters that are trained before these
    encoder: int = 0  # other parameters
    together: int | None = None  # samples that are presented together at most
    shows: int = 0  # presentations that are stored before a batch is answered
    groups: int = 0  # of a batch, each of which is stored on its own
    stored: int = 0  # samples whose activity is stored at once
    data: int = 0  # bytes held from step to step
    scoring: int = 0  # bytes of the loss and its backward pass, the lattice's states waiting
    judged: int = 0  # bytes of scoring the held-out samples at once
    answers: int = 0  # bytes of their answers
    saved: int = 0  # numbers of a checkpoint that are trained, each with two moments
    kept: int = 0  # bytes of a checkpoint beside these


def load(stage: Stage, how: How) -> Load:
    """What the stage's task adds; one of the user's own is taken to have two faces."""
    if stage.task in task_specs.TASKS:
        found: Load = _of(stage.task).load(stage, how)
        return found
    x, y, _ = stage.lattice.dimensions
    maps = stage.text.embedding * x * y * stage.lattice.channels
    return Load(
        drive=x * y * stage.lattice.channels,
        training=stage.dataset_limit,
        map=maps,
        saved=2 * maps,
    )


def check(stage: Stage) -> list[str]:
    """Notes on the stage's data; raises DataError or ConfigError where it cannot train on it."""
    if stage.task not in task_specs.TASKS:
        return []
    notes: list[str] = _of(stage.task).check(stage)
    return notes


def data_of(stage: Stage) -> str:
    """What tells two stages' data apart, so that each is checked once."""
    sections = {key.partition(".")[0] for key in task_specs.of(stage.task).files}
    return repr((stage.task, stage.batch_size, [getattr(stage, name) for name in sorted(sections)]))


def cells(stage: Stage) -> int:
    return math.prod(stage.lattice.dimensions)


def _of(task: str) -> Any:
    return importlib.import_module(f"cell_train.tasks.{task}.plan")
