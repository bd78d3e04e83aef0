"""Patterns stored by plasticity alone: strengths change while these are shown, and stay so only
until they have been recalled."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from cell_train.plasticity.update import Outcome
from cell_train.tasks.base import Batch
from cell_train.training.plasticity_step import accept, changed
from cell_train.training.state import Machine


@contextmanager
def stored(machine: Machine, batch: Batch, micro_batch: int) -> Iterator[Outcome | None]:
    """What the task shows before `batch` is in the strengths for as long as this lasts.

    After each showing the rules change the strengths, without a gradient; clusters take no part.
    Gives the last change, None where nothing is stored.
    """
    blank, state = machine.network.connections, machine.plastic_state
    outcome = None
    try:
        for shown in machine.task.shows(batch) if machine.plastic_when == "forward" else ():
            outcome = _show(machine, shown, micro_batch)
            accept(machine, outcome)
        if outcome is not None:
            moved = float((outcome.strength - blank.strength).abs().mean())
            outcome = replace(outcome, change=moved)
        yield outcome
    finally:
        machine.network.connections, machine.plastic_state = blank, state


@torch.no_grad()
def _show(machine: Machine, shown: Batch, micro_batch: int) -> Outcome:
    task = machine.task

    def activity() -> Iterator[Tensor]:
        for part in shown.parts(micro_batch):
            yield machine.network(task.present(part), task.write, part.size)[1]

    return changed(machine, torch.cat(list(activity()), 2))
