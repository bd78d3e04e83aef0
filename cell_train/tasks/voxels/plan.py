"""What a plan must know of voxels: how many, how wide, and that they fit the stage."""

import functools
from dataclasses import dataclass
from pathlib import Path

from cell_train.config.schema import Stage
from cell_train.errors import ConfigError, DataError
from cell_train.tasks.plan import F, How, Load, cells


@dataclass(frozen=True)
class Facts:
    """Of a file's arrays, as small as their headers."""

    training: int
    held_out: int
    steps: int
    entering: int  # channels of x
    leaving: int  # channels read


def load(stage: Stage, how: How) -> Load:
    try:
        known = facts(stage)
    except (ConfigError, OSError):  # said in full when the data are checked before a run
        known = Facts(stage.dataset_limit, stage.monitor.evaluate or stage.dataset_limit, 1, 1, 1)
    n, wide = cells(stage), known.entering + 1
    reading = stage.lattice.channels * known.leaving + known.leaving
    held = known.training * (known.entering + known.leaving)
    held += known.held_out * (known.entering + known.steps * known.leaving)
    return Load(
        drive=n * wide,
        training=min(stage.dataset_limit, known.training),
        encoder=reading,
        data=F * n * held if how.on_cpu else 0,
        scoring=6 * F * n * how.micro_batch * known.leaving,
        answers=4 * F * n * known.held_out * known.leaving,
        saved=reading,
    )


def check(stage: Stage) -> list[str]:
    """Raises DataError where the file does not fit the stage."""
    from cell_train.tasks.voxels import data  # late: numpy

    path, lattice = Path(stage.voxels.path), stage.lattice
    found = data.load(path, stage.voxels.loss)
    grid = list(found.x.shape[1:4])
    if grid != lattice.dimensions:
        raise DataError(
            f"{path}: has {grid} voxels a sample, the lattice {lattice.dimensions} cells; set"
            f" lattice.dimensions=[{','.join(map(str, grid))}]"
        )
    wide = found.x.shape[4] + 1
    if wide >= lattice.channels:
        raise DataError(
            f"{path}: x has {wide - 1} channels; with the one that marks voxels they leave a cell"
            f" of lattice.channels={lattice.channels} nothing of its own; set lattice.channels="
            f"{2 * wide} or more"
        )
    if stage.voxels.residual and (stage.voxels.loss != "mse" or wide - 1 != found.y.shape[4]):
        raise DataError(
            f"{path}: voxels.residual adds what is read to x: it goes with voxels.loss mse and as"
            " many channels in x as in y"
        )
    if len(found.x) < stage.batch_size:
        raise DataError(
            f"{path}: {len(found.x)} samples to train on are fewer than one batch (batch_size"
            f" {stage.batch_size}); set batch_size={len(found.x)}"
        )
    return []


def facts(stage: Stage) -> Facts:
    path = Path(stage.voxels.path)
    return _counted(path, stage.voxels.loss, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _counted(path: Path, loss: str, changed: int) -> Facts:
    from cell_train.tasks.voxels import data  # late: numpy

    found = data.load(path, loss)
    count, steps = found.y_held_out.shape[:2]
    return Facts(len(found.x), count, steps, found.x.shape[4], found.classes)
