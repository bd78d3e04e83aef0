"""What a stage tells of its lattice: at each epoch, at each evaluation, and as it ends."""

import time
from typing import TYPE_CHECKING, Any

from cell_train.model import lattice
from cell_train.run_folder.paths import StageFiles
from cell_train.training.plasticity_step import inspect_structure, refresh_clusters
from cell_train.training.telemetry import free_dynamics
from cell_train.training.telemetry import snapshot as pictures

if TYPE_CHECKING:
    from cell_train.training.trainer import Trainer

LESION = 0.2  # of the cells, silenced as a stage ends to see what its lattice bears


def structure(trainer: "Trainer", epoch: int) -> None:
    """Find clusters anew, where that is due, and tell them and the morphology."""
    stage, machine = trainer.resolved.stage, trainer.machine
    plasticity, micro_batch = stage.plasticity, trainer.resolved.execution.micro_batch
    often = plasticity.clustering_config.update_frequency
    if plasticity.enable_clustering and epoch % often == 0:
        found = refresh_clusters(trainer.adaptation, machine, stage, epoch, micro_batch)
        trainer.emit("clustering", epoch=epoch, **found)
    if plasticity.emergence_config.morphology_tracking:
        trainer.emit("morphology", epoch=epoch, **inspect_structure(machine, stage))


def strengths(trainer: "Trainer", epoch: int) -> None:
    """How the strengths lie now."""
    told = pictures.strengths(trainer.machine.network.connections, trainer.resolved.stage)
    trainer.emit("strengths", epoch=epoch, step=trainer.totals.step, **told)


def emergence(trainer: "Trainer", scores: dict[str, float]) -> dict[str, Any] | None:
    """Measure and tell what the lattice does left to itself, where the stage tracks that.

    `scores` are the undamaged lattice's, on the samples that the damaged one is asked.
    """
    stage = trainer.resolved.stage
    if not stage.plasticity.emergence_config.morphology_tracking:
        return None
    began = time.monotonic()
    measured = free_dynamics.measure(trainer.machine, stage, trainer.adaptation.labels)
    if stage.monitor.control != "bypass":
        measured |= {"lesion": LESION, "undamaged": scores, "damaged": _damaged(trainer)}
    measured["seconds"] = round(time.monotonic() - began, 4)
    trainer.emit("emergence", epoch=stage.epochs - 1, **measured)
    return measured


def _damaged(trainer: "Trainer") -> dict[str, float]:
    """The scores with a sphere of LESION of the cells silenced, in the lattice's middle."""
    network = trainer.machine.network
    silent = lattice.around(network.connections.dimensions, LESION)
    network.awake = ~silent[..., None, None].to(trainer.machine.device)
    try:
        return trainer.scores()
    finally:
        network.awake = None


def portrait(trainer: "Trainer") -> None:
    """What the report shows of the lattice as the stage leaves it."""
    resolved, machine = trainer.resolved, trainer.machine
    told = pictures.spectrum(machine.network.connections)
    last = resolved.stage.epochs - 1
    trainer.emit("spectrum", epoch=last, step=trainer.totals.step, **told)
    path = StageFiles(trainer.folder.parent).lattice
    try:
        pictures.write(path, machine, trainer.adaptation, resolved.execution.micro_batch)
    except OSError as error:
        message = f"{path} not written ({error.strerror}): the report lacks its pictures"
        trainer.emit("log", level="warning", message=message)
