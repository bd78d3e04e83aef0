"""One step of training: an optimizer step, then a plastic one."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from cell_train.events.kinds import Log
from cell_train.planning.cost.sizes import credited
from cell_train.plasticity.update import Outcome
from cell_train.tasks.base import Batch
from cell_train.training.pattern_storage import stored
from cell_train.training.plasticity_step import accepted, observe, observed, propose, watch
from cell_train.training.state import Job, State

LOSS_MEMORY = 0.98  # of the running mean of the loss: about 50 steps


@dataclass
class Lesson:
    """What the micro-batches of a step add up to, beside the gradients."""

    loss: float = 0.0
    cosine: float = 0.0
    outcome: Outcome | None = None  # what plasticity makes of the strengths


def step(state: State, job: Job, samples: list[int]) -> None:
    """Learn from `samples`; where anything is not finite the model stays what it is."""
    credit = state.model.network.credit() if credited(job.stage) else None
    lesson = Lesson()
    for batch in state.model.task.batches("train", samples, job.micro_batch):
        learn(state, job, batch, batch.size / len(samples), lesson, credit)
    if _finite(state, job, lesson) and _adapt(state, job, lesson, credit):
        _apply(state, job, lesson)
    else:
        _skip(state, job, lesson.loss)
    state.scaler.update()
    state.optimizer.zero_grad(set_to_none=True)
    state.totals.step += 1
    state.totals.samples += len(samples)
    state.totals.seconds = job.seconds()


def learn(
    state: State, job: Job, batch: Batch, share: float, lesson: Lesson, credit: Tensor | None
) -> None:
    """Add a micro-batch, `share` of a step, to the gradients, the `lesson` and the `credit`."""
    job.show_life()
    model, lesson.outcome = stored(state.model, batch, job.micro_batch)
    y, activity = model.present(batch, credit)
    loss, metrics = model.task.score(y, batch)
    state.scaler.scale(loss * share).backward()
    if model.plastic_when == "step":
        observe(state.adaptation, activity, job.stage)
    lesson.loss += float(loss.detach()) * share
    lesson.cosine += metrics.get("cosine", math.nan) * share


def _finite(state: State, job: Job, lesson: Lesson) -> bool:
    """Whether the loss, the gradients, which are clipped here, and the activity are finite."""
    state.scaler.unscale_(state.optimizer)
    norm = torch.nn.utils.clip_grad_norm_(state.parameters(), job.stage.training.clip_norm)
    return math.isfinite(lesson.loss) and bool(torch.isfinite(norm)) and observed(state.adaptation)


def _adapt(state: State, job: Job, lesson: Lesson, credit: Tensor | None) -> bool:
    """Find what plasticity makes of the strengths; whether that is finite. Raises DeadStart."""
    if lesson.outcome is not None:
        watch(state.adaptation, lesson.outcome, job.stage)
    elif state.model.plastic_when == "step":
        found = None if credit is None else credit.grad
        lesson.outcome = propose(state.adaptation, state.model, job.stage, found)
        return lesson.outcome is not None
    return True


def _apply(state: State, job: Job, lesson: Lesson) -> None:
    """The optimizer's step, the plastic one, and what they add to the totals."""
    totals, outcome = state.totals, lesson.outcome
    set_rates(state.optimizer, job.schedule.factor(totals.step, totals.rollbacks))
    state.scaler.step(state.optimizer)
    if outcome is not None:
        if state.model.plastic_when == "step":
            state.model = accepted(state.model, outcome)
        totals.change += outcome.change
        totals.active = outcome.active
    totals.bad_steps = 0
    memory = min(1 - 1 / (totals.step + 1), LOSS_MEMORY)
    new = lesson.loss
    totals.loss = new if totals.step == 0 else memory * totals.loss + (1 - memory) * new
    totals.cosine = None if math.isnan(lesson.cosine) else lesson.cosine


def set_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set the learning rates to so much of what they start from."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor


def _skip(state: State, job: Job, loss: float) -> None:
    """A step whose loss, gradient, activity or strengths are not finite changes nothing."""
    state.adaptation.history.clear()
    state.totals.bad_steps += 1
    what = "" if math.isfinite(loss) else f": loss {loss}"
    job.emit(Log(level="warning", message=f"step not applied, it is not finite{what}"))
