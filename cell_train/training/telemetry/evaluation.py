"""What the held-out samples score, while a stage trains and as it ends."""

import torch
from torch import Tensor

from cell_train.events.kinds import Evaluated
from cell_train.tasks import base as tasks
from cell_train.tasks.base import Batch, Evaluation
from cell_train.training.pattern_storage import stored
from cell_train.training.state import Job, Model, State
from cell_train.training.telemetry import emit


def evaluate(state: State, job: Job, epoch: int, limit: int) -> Evaluation:
    """Score at most `limit` held-out samples (0: all) and tell it, and how the strengths lie."""
    found = examine(state.model, job, limit)
    job.emit(
        Evaluated(
            epoch=epoch,
            step=state.totals.step,
            metrics={**_rounded(found.metrics)},
            samples=found.samples,
        )
    )
    emit.strengths(state, job, epoch)
    return found


def scores(model: Model, job: Job, whole: Evaluation | None = None) -> dict[str, float]:
    """The task's metrics on the held-out samples that are scored while a stage trains.

    `whole` is an evaluation of all of them, which is not made again if that is what is asked.
    """
    limit, size = job.stage.monitor.evaluate, model.task.size("held_out")
    every = limit is None or limit >= size
    return _rounded((whole if whole and every else examine(model, job, limit or size)).metrics)


def examine(model: Model, job: Job, limit: int) -> Evaluation:
    """Score at most `limit` held-out samples (0: all)."""
    model.task.eval()

    def respond(batch: Batch) -> Tensor:  # as many at a time as fit in training
        full, _ = stored(model, batch, job.micro_batch)
        return torch.cat([_answer(full, part, job) for part in batch.parts(job.micro_batch)])

    with torch.no_grad():
        evaluation = tasks.evaluate(model.task, respond, limit)
    model.task.train()
    return evaluation


def _answer(model: Model, batch: Batch, job: Job) -> Tensor:
    job.show_life()
    return model.present(batch)[0]


def _rounded(metrics: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 6) for name, value in metrics.items()}
