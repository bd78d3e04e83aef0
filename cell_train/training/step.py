"""One step of training: an optimizer step, then a plastic one."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from cell_train.config.schema import Stage
from cell_train.events.kinds import Log
from cell_train.planning.cost.sizes import credited
from cell_train.plasticity.update import Outcome
from cell_train.tasks.base import Batch
from cell_train.tasks.seeds import derive, generator
from cell_train.training.pattern_storage import stored
from cell_train.training.plasticity_step import accepted, observe, observed, propose, watch
from cell_train.training.presentation import looks, parts
from cell_train.training.state import Job, Model, State

Number = Tensor | float  # a tensor of one number, where that is on a device
LOSS_MEMORY = 0.98  # of the running mean of the loss: about 50 steps


@dataclass
class Lesson:
    """What the micro-batches of a step add up to, beside the gradients."""

    losses: list[Number] = field(default_factory=list)  # of each, times its share of the step
    cosines: list[Number] = field(default_factory=list)
    outcome: Outcome | None = None  # what plasticity makes of the strengths


@dataclass(frozen=True)
class Seen:
    """A step in numbers, fetched from the device together."""

    loss: float
    cosine: float
    finite: bool  # the loss, the gradients, the activity and the strengths
    change: float = 0.0  # the outcome's, where there is one
    active: float = 0.0
    spiking: float = 0.0
    activity: float = 0.0


def step(state: State, job: Job, samples: list[int]) -> None:
    """Learn from `samples`; where anything is not finite the model stays what it is."""
    credit = state.model.network.credit() if credited(job.stage) else None
    lesson = Lesson()
    for batch in state.model.task.batches("train", samples, job.micro_batch):
        learn(state, job, batch, batch.size / len(samples), lesson, credit)
    seen = _see(state, job, lesson, credit)
    if seen.finite:
        _apply(state, job, lesson.outcome, seen)
    else:
        _skip(state, job, seen.loss)
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
    loss, metrics, activity = _scored(model, job.stage, state.totals.step, batch, credit)
    state.scaler.scale(loss * share).backward()
    if model.plastic_when == "step":
        observe(state.adaptation, activity, job.stage)
    lesson.losses.append(loss.detach().double() * share)
    lesson.cosines.append(metrics.get("cosine", math.nan) * share)


def _scored(
    model: Model, stage: Stage, step: int, batch: Batch, credit: Tensor | None
) -> tuple[Tensor, Mapping[str, Number], Tensor]:
    """The loss, a mean over the times the batch is read, its last metrics, and the activity."""
    task = model.task
    if model.bypassed:
        loss, metrics = task.score(task.bypass(batch), batch)
        return loss, metrics, torch.empty(0)
    seed = derive(stage.seed, stage.stage, "presentation", step) >> 1
    ends = looks(batch.ticks or _ticks(model, stage, step), stage.training.reads)
    losses, record = [], []
    for cells, activity in parts(model.network, task, batch, ends, credit=credit, seed=seed):
        loss, metrics = task.score(task.read(cells), batch)
        losses.append(loss)
        record.append(activity)
    if hasattr(task, "keep"):
        task.keep(batch, cells.detach())
    whole = record[0] if len(record) == 1 else torch.cat(record, 1)
    return sum(losses[1:], losses[0]) / len(losses), metrics, whole


def _ticks(model: Model, stage: Stage, step: int) -> int:
    """T of a step: the stage's, or drawn from its range."""
    least, most = stage.lattice.ticks_from, model.network.ticks
    if least is None:
        return most
    random = generator(stage.seed, stage.stage, "ticks", step)
    return int(torch.randint(least, most + 1, (), generator=random))


def _see(state: State, job: Job, lesson: Lesson, credit: Tensor | None) -> Seen:
    """Clip the gradients, find what plasticity makes of the strengths, and look at it all.

    Here, and only here, a step waits for its device.
    """
    state.scaler.unscale_(state.optimizer)
    norm = torch.nn.utils.clip_grad_norm_(state.parameters(), job.stage.training.clip_norm)
    sums: list[Number] = [norm, *observed(state.adaptation)]
    if state.model.plastic_when == "step":
        found = None if credit is None else credit.grad
        lesson.outcome = propose(state.adaptation, state.model, found)
        sums += [lesson.outcome.strength.sum(), lesson.outcome.state.theta.sum()]
    one = lesson.outcome
    moved = [] if one is None else [one.change, one.active, one.spiking, one.activity]
    losses, cosines, summed, told = _fetched(lesson.losses, lesson.cosines, sums, moved)
    finite = all(map(math.isfinite, (*losses, *summed)))
    return Seen(sum(losses), sum(cosines), finite, *told)


def _fetched(*groups: Sequence[Number]) -> list[list[float]]:
    """The numbers of each group; those that are on a device come from there together."""
    there = [value.double() for group in groups for value in group if isinstance(value, Tensor)]
    fetched = iter(torch.stack(there).cpu().tolist())
    return [
        [next(fetched) if isinstance(value, Tensor) else float(value) for value in group]
        for group in groups
    ]


def _apply(state: State, job: Job, outcome: Outcome | None, seen: Seen) -> None:
    """The optimizer's step, the plastic one, and what they add to the totals. Raises DeadStart."""
    totals = state.totals
    if outcome is not None:
        watch(state.adaptation, seen.spiking, seen.activity, job.stage)
    set_rates(state.optimizer, job.schedule.factor(totals.step, totals.rollbacks))
    state.scaler.step(state.optimizer)
    if outcome is not None:
        if state.model.plastic_when == "step":
            state.model = accepted(state.model, outcome)
        totals.change += seen.change
        totals.active = seen.active
    totals.bad_steps = 0
    memory = min(1 - 1 / (totals.step + 1), LOSS_MEMORY)
    new = seen.loss
    totals.loss = new if totals.step == 0 else memory * totals.loss + (1 - memory) * new
    totals.cosine = None if math.isnan(seen.cosine) else seen.cosine


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
