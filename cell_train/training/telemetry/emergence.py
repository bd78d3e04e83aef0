"""What a lattice does as its stage ends: without input, and with some of its cells silenced."""

import time
from dataclasses import replace
from typing import Any

from cell_train.events.kinds import Emergence
from cell_train.model import lattice
from cell_train.training.state import Job, Model, State
from cell_train.training.telemetry import evaluation, free_dynamics

LESION = 0.2  # of the cells, silenced to see how well the lattice does without them


def emergence(state: State, job: Job, scores: dict[str, float]) -> dict[str, Any] | None:
    """Measure and tell it, where the stage tracks that.

    `scores` are the undamaged lattice's, on the samples that the damaged one is asked.
    """
    stage = job.stage
    if not stage.plasticity.emergence_config.morphology_tracking:
        return None
    began = time.monotonic()
    measured = free_dynamics.measure(state.model, stage, state.adaptation.labels)
    if not state.model.bypassed:
        damaged = evaluation.scores(damage(state.model, LESION), job)
        measured |= {"lesion": LESION, "undamaged": scores, "damaged": damaged}
    measured["seconds"] = round(time.monotonic() - began, 4)
    job.emit(Emergence(epoch=stage.epochs - 1, **measured))
    return measured


def damage(model: Model, share: float) -> Model:
    """The model with a sphere of `share` of the cells silenced, in the lattice's middle."""
    silent = lattice.around(model.network.connections.dimensions, share)
    awake = ~silent[..., None, None].to(model.device)
    return replace(model, network=model.network.silenced(awake))
