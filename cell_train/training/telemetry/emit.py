"""What a stage tells of its lattice: at each epoch, at each evaluation, and as it ends."""

from cell_train.events.kinds import Clustering, Log, Morphology, Spectrum, Strengths
from cell_train.run_folder.paths import StageFiles
from cell_train.training.plasticity_step import inspect_structure, refresh_clusters
from cell_train.training.state import Job, State
from cell_train.training.telemetry import snapshot as pictures


def structure(state: State, job: Job, epoch: int) -> None:
    """Find clusters anew, where that is due, and tell them and the morphology."""
    stage, plasticity = job.stage, job.stage.plasticity
    often = plasticity.clustering_config.update_frequency
    if plasticity.enable_clustering and epoch % often == 0:
        found = refresh_clusters(state.adaptation, state.model, stage, epoch, job.micro_batch)
        job.emit(Clustering(epoch=epoch, **found))
    if plasticity.emergence_config.morphology_tracking:
        state.model, told = inspect_structure(state.model, stage)
        job.emit(Morphology(epoch=epoch, **told))


def strengths(state: State, job: Job, epoch: int) -> None:
    """How the strengths lie now."""
    told = pictures.strengths(state.model.network.connections, job.stage)
    job.emit(Strengths(epoch=epoch, step=state.totals.step, **told))


def portrait(state: State, job: Job) -> None:
    """What the report shows of the lattice as the stage leaves it."""
    told = pictures.spectrum(state.model.network.connections)
    job.emit(Spectrum(epoch=job.stage.epochs - 1, step=state.totals.step, **told))
    path = StageFiles(job.folder.parent).lattice
    try:
        pictures.write(path, state.model, state.adaptation, job.micro_batch)
    except OSError as error:
        message = f"{path} not written ({error.strerror}): the report lacks its pictures"
        job.emit(Log(level="warning", message=message))
