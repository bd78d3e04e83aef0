"""What a lattice that was trained to grow does, tick by tick: grown, cut in half, grown again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cell_train.errors import ConfigError
from cell_train.tasks.grow import cuts
from cell_train.tasks.grow.task import SEEN, GrowTask
from cell_train.training.trained_model import TrainedModel

EVERY = 2  # ticks between two pictures


@dataclass(frozen=True)
class Moment:
    """The shape as it is seen after some ticks."""

    act: str  # growing, cut or growing again
    tick: int  # of the act
    voxels: NDArray[np.float32]  # [X, Y, Z, 4] in 0..1
    overlap: float  # intersection over union with the target


def task_of(trained: TrainedModel) -> GrowTask:
    """Raises ConfigError where something else was trained."""
    task = trained.model.task
    if not isinstance(task, GrowTask):
        raise ConfigError(f"stage {trained.stage} grows nothing, it was trained on another task.")
    return task


def story(trained: TrainedModel) -> Iterator[Moment]:
    """From the seed for as long as a presentation lasts; half cut off; for `regrow_ticks` more."""
    task = task_of(trained)
    growing = _states(trained, task.seed[:, :, :, None], trained.model.network.ticks)
    yield from _moments(task, "growing", growing)
    x, y, z = task.target.shape[:3]
    half = task.read(growing[-1]) * ~cuts.half((x, y, z))[..., None, None]
    yield _moment(task, "cut", 0, half)
    again = _states(trained, half, task.grows.regrow_ticks)
    yield from _moments(task, "growing again", again)


def _states(trained: TrainedModel, cells: Tensor, ticks: int) -> list[Tensor]:
    """The cells [X, Y, Z, 1, C] before the first tick and after each."""
    states = [cells]
    for tick in range(ticks):
        states.append(trained.step(states[-1], cells.new_empty(0), tick))
    return states


def _moments(task: GrowTask, act: str, states: Sequence[Tensor]) -> Iterator[Moment]:
    for tick, cells in enumerate(states):
        if tick % EVERY == 0 or tick + 1 == len(states):
            yield _moment(task, act, tick, cells)


def _moment(task: GrowTask, act: str, tick: int, cells: Tensor) -> Moment:
    alive = task.read(cells)
    seen = alive[:, :, :, 0, :SEEN].clamp(0, 1).numpy().astype(np.float32)
    return Moment(act, tick, seen, float(task.overlap(alive)[0]))
