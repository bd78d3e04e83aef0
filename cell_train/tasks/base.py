"""What a task is to the trainer: data in, cells written, cells read, a loss and metrics.

The lattice and plasticity know nothing of text. A stage chooses its task by `task:`, the name of
a folder here or `package.module:Task`. A task is an `nn.Module` with the six members of `Task`;
what else it may have is listed in `HOOKS`, and counts where it is there.
"""

import dataclasses
import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor, nn

from cell_train import plugins
from cell_train.config import task_specs

TOGETHER = 64  # held-out samples presented at once, where memory allows
Sample = tuple[str, str, str]
"""What went in, what should come out, what came out: shown to a person."""


@dataclass(frozen=True)
class Batch:
    """One micro-batch; what the fields mean is for the task that made it, samples come first."""

    source: Tensor
    target: Tensor
    size: int
    ticks: int | None = field(default=None, kw_only=True)  # of its presentation; None: the stage's

    per_sample: ClassVar[tuple[str, ...]] = ("source", "target")  # fields with samples first

    def parts(self, size: int) -> Iterator[Self]:
        """The same samples, at most `size` at a time."""
        for first in range(0, self.size, size):
            end = min(first + size, self.size)
            part = {name: getattr(self, name)[first:end] for name in self.per_sample}
            yield dataclasses.replace(self, size=end - first, **part)


@dataclass(frozen=True)
class Evaluation:
    metrics: dict[str, float]
    samples: list[Sample]


@dataclass(frozen=True)
class TaskContext:
    """What the trainer tells a task when it builds it."""

    stage: dict[str, Any]  # the resolved stage, as plain data
    dimensions: tuple[int, int, int]
    channels: int
    saved: dict[str, Any] | None  # what `saved()` gave when the checkpoint was made


Respond = Callable[[Any], Tensor]
"""A Batch -> y, what the lattice says to it: presented, and read at its end."""


class Task(Protocol):
    """An nn.Module whose parameters the optimizer trains beside the shared rule's."""

    primary: str  # the metric a person asks for first, and the best checkpoint is chosen by

    def size(self, split: str) -> int:
        """How many samples the split `train` or `held_out` has."""

    def batches(self, split: str, order: list[int], micro_batch: int) -> Iterator[Batch]:
        """The samples named by `order`, in that order."""

    write: Callable[[Tensor, Tensor], Tensor]
    """(cells [X, Y, Z, B, C], x) -> the cells with x on them, before every tick: a rollout.Write,
    anywhere in the lattice; `Faces.write` is one."""

    def read(self, cells: Tensor) -> Tensor:
        """y: what the cells [X, Y, Z, B, C] say."""

    def score(self, y: Tensor, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor | float]]:
        """The loss (a mean over the batch) and metrics.

        A metric left where it is, a tensor of one number, does not make the host wait for it.
        """


HOOKS: Mapping[str, str] = {
    "present": "(batch) -> x, computed once a presentation; else x is batch.source",
    "initial": "(batch) -> the first cells [X, Y, Z, B, C]; else they are silent",
    "keep": "(batch, cells), after a presentation in training: cells it may begin from later",
    "evaluate": "(respond, limit) -> Evaluation; else score's metrics, averaged over held_out",
    "bypass": "(batch) -> y where x goes past the lattice; for monitor.control: bypass",
    "shows": "(batch) -> batches to be stored before it; for plasticity.when: forward",
    "portable": "() -> what celltrain play needs of it, as plain data and numpy arrays",
    "grow": "(dimensions): adapt parameters that depend on the lattice's dimensions",
    "settle": "(cells, y): once grown, read the cells of each batch so that they say y again",
    "saved": "() -> plain data a checkpoint needs besides parameters and buffers",
    "facts": "() -> plain data that the stage's first event says of the task",
    "fast_parameters": "() -> parameters with training.decoder_learning_rate",
}
"""What a task may have besides."""


def present(task: Any, batch: Batch, device: torch.device) -> Tensor:
    """x, what is written on the cells."""
    if hasattr(task, "present"):
        x: Tensor = task.present(batch)
        return x
    return batch.source.to(device)


def initial(task: Any, batch: Batch, device: torch.device) -> Tensor | None:
    """The first cells [X, Y, Z, B, C]; None: silence."""
    if not hasattr(task, "initial"):
        return None
    cells: Tensor = task.initial(batch)
    return cells.to(device)


def saved(task: Any) -> dict[str, Any]:
    return dict(task.saved()) if hasattr(task, "saved") else {}


def facts(task: Any) -> dict[str, Any]:
    return dict(task.facts()) if hasattr(task, "facts") else {}


def fast_parameters(task: Any) -> list[nn.Parameter]:
    return list(task.fast_parameters()) if hasattr(task, "fast_parameters") else []


def evaluate(task: Any, respond: Respond, limit: int) -> Evaluation:
    """Metrics on at most `limit` held-out samples (0: all)."""
    if hasattr(task, "evaluate"):
        found: Evaluation = task.evaluate(respond, limit)
        return found
    count = task.size("held_out")
    order = list(range(min(limit or count, count)))
    totals: dict[str, float] = {}
    for batch in task.batches("held_out", order, TOGETHER):
        loss, metrics = task.score(respond(batch), batch)
        for name, value in {"loss": float(loss), **metrics}.items():
            totals[name] = totals.get(name, 0.0) + float(value) * batch.size
    return Evaluation({name: total / max(len(order), 1) for name, total in totals.items()}, [])


def load(name: str, context: TaskContext) -> Any:
    """The task `name`, built. Raises ConfigError for a name that is not trusted or not there."""
    if name in task_specs.TASKS:
        make = importlib.import_module(f"cell_train.tasks.{name}.task").TASK
    else:
        make = plugins.load("task", name)
    return make(context)
