"""Patterns stored by plasticity alone: the strengths that they leave serve to recall them, and no
further."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from cell_train.plasticity.update import Outcome
from cell_train.tasks.base import Batch
from cell_train.training.plasticity_step import accepted, changed
from cell_train.training.presentation import shown
from cell_train.training.state import Model


def stored(model: Model, batch: Batch, micro_batch: int) -> tuple[Model, Outcome | None]:
    """The model with what the task shows before `batch` in its strengths, and the last change.

    After each showing the rules change the strengths, without a gradient; clusters take no part.
    Where nothing is stored it is the same model, and None.
    """
    blank, outcome = model.network.connections, None
    for pattern in model.task.shows(batch) if model.plastic_when == "forward" else ():
        outcome = _show(model, pattern, micro_batch)
        model = accepted(model, outcome)
    if outcome is not None:
        moved = (outcome.strength - blank.strength).abs().mean()
        outcome = replace(outcome, change=moved)
    return model, outcome


@torch.no_grad()
def _show(model: Model, pattern: Batch, micro_batch: int) -> Outcome:
    def activity() -> Iterator[Tensor]:
        for part in pattern.parts(micro_batch):
            yield shown(model.network, model.task, part)[1]

    return changed(model, torch.cat(list(activity()), 2))
