"""What a task is to the trainer: data in, cells written, cells read, a loss and metrics.

The lattice and plasticity know nothing of text. A stage chooses its task by `task:`, a key of
a registry or `package.module:Task`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from cell_train import plugins

Sample = tuple[str, str, str]
"""What went in, what should come out, what came out: shown to a person."""


@dataclass(frozen=True)
class Batch:
    """One micro-batch; what the fields mean is for the task that made it, samples come first."""

    source: Tensor
    target: Tensor
    size: int

    def parts(self, size: int) -> "Iterator[Batch]":
        """The same samples, at most `size` at a time."""
        for first in range(0, self.size, size):
            end = min(first + size, self.size)
            yield Batch(self.source[first:end], self.target[first:end], end - first)


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


class Task(Protocol):
    """An nn.Module whose parameters the optimizer trains beside the shared rule's.

    It may have `settle(cells, y)` too, called once a lattice has grown: correct how it reads, so
    that the cells [X, Y, Z, B, C] of each batch say again what the smaller lattice said, y.
    """

    primary: str  # the metric a person asks for first

    def size(self, split: str) -> int:
        """How many samples the split `train` or `held_out` has."""

    def batches(self, split: str, order: list[int], micro_batch: int) -> Iterator[Batch]:
        """The samples named by `order`, in that order."""

    def present(self, batch: Batch) -> Tensor:
        """x: what is written on the cells at every tick; computed once a presentation."""

    write: Callable[[Tensor, Tensor], Tensor]
    """(cells [X, Y, Z, B, C], x) -> the cells with x on them, before every tick: a rollout.Write;
    `Faces.write` is one."""

    def read(self, cells: Tensor) -> Tensor:
        """y: what the cells say after the last tick."""

    def score(self, y: Tensor, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor | float]]:
        """The loss (a mean over the batch) and metrics to show while training.

        A metric left where it is, a tensor of one number, does not make the host wait for it.
        """

    def evaluate(self, respond: Callable[[Batch], Tensor], limit: int) -> Evaluation:
        """Metrics on at most `limit` held-out samples (0: all), `respond` giving y for a batch."""

    def bypass(self, batch: Batch) -> Tensor:
        """y as it is where x goes past the lattice; for `monitor.control: bypass` alone."""

    def saved(self) -> dict[str, Any]:
        """What a checkpoint needs besides the parameters; plain data."""

    def shows(self, batch: Batch) -> Iterator[Batch]:
        """What plasticity is to store before `batch` is presented; with `when: forward` alone."""

    def portable(self) -> dict[str, Any]:
        """What `celltrain play` needs, as plain data and numpy arrays; optional.

        Its `kind` says which page it is for; without this method the page has the lattice alone.
        """

    def grow(self, dimensions: tuple[int, int, int]) -> None:
        """Adapt parameters that depend on the lattice's dimensions."""

    def fast_parameters(self) -> list[nn.Parameter]:
        """Parameters with the decoder's learning rate instead of the lattice's."""


def load(
    name: str, registry: Mapping[str, Callable[[TaskContext], Any]], context: TaskContext
) -> Any:
    """The task `name`, built. Raises ConfigError for a name that is not trusted or not there."""
    make = registry.get(name) or plugins.load("task", name)
    return make(context)
