"""What a stage trains: the model that answers, and the one value that training changes."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cell_train import lived
from cell_train.config.schema import ResolvedStage, Stage
from cell_train.events.kinds import Alive, Message
from cell_train.model.lattice import Connections, Dimensions
from cell_train.model.network import Network
from cell_train.plasticity.update import Affinity, PlasticityRule, PlasticState
from cell_train.tasks import base as tasks
from cell_train.tasks.base import Batch
from cell_train.training.presentation import shown
from cell_train.training.schedule import Interval, Schedule

Emit = Callable[[Message], None]
"""Sends one event to the parent."""


@dataclass(frozen=True)
class Model:
    """A lattice with its task on one device: what answers. A plastic step makes another one."""

    network: Network
    task: Any  # a tasks.Task that is an nn.Module
    plasticity: PlasticityRule
    plastic: PlasticState
    plastic_when: str  # step, forward (see pattern_storage.py) or never
    bypassed: bool = False  # `monitor.control: bypass`: the task answers without the lattice

    @property
    def device(self) -> torch.device:
        return self.network.connections.strength.device

    def present(self, batch: Batch, credit: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What is read after a presentation, and the activity [N, T, B]; see Network.forward."""
        if self.bypassed:
            return self.task.bypass(batch), torch.empty(0)
        cells, activity = shown(self.network, self.task, batch, credit=credit)
        return self.task.read(cells), activity


@dataclass
class Adaptation:
    """The plastic side of a stage between steps."""

    history: list[Tensor] = field(default_factory=list)  # activity [N, T, b] of this step
    labels: Tensor | None = None  # [N] of the last clustering
    affinity: Affinity | None = None
    clustering: dict[str, Any] | None = None  # the figures of the last one
    clusterings: int = 0
    past: list[tuple[int, Tensor]] = field(default_factory=list)  # (epoch, labels), oldest first
    quiet_steps: int = 0  # steps in a row in which hardly a cell spiked

    def saved(self) -> dict[str, Any]:
        return {
            "labels": self.labels,
            "cosine": self.affinity.cosine if self.affinity else None,
            "together": self.affinity.together if self.affinity else None,
            "clustering": self.clustering,
            "past": self.past,
            "clusterings": self.clusterings,
            "quiet_steps": self.quiet_steps,
        }

    @classmethod
    def restored(cls, saved: dict[str, Any], device: torch.device) -> "Adaptation":
        """What a checkpoint holds; what the steps read lies on their device, labels on the CPU."""
        cosine, together = saved["cosine"], saved["together"]
        known = None if cosine is None else Affinity(cosine.to(device), together.to(device))
        return cls(
            labels=saved["labels"],
            affinity=known,
            clustering=saved["clustering"],
            past=saved["past"],
            clusterings=saved["clusterings"],
            quiet_steps=saved["quiet_steps"],
        )


@dataclass
class Totals:
    """What a stage adds up over its steps; saved, so that a resumed stage reports the whole."""

    step: int = 0
    samples: int = 0
    seconds: float = 0.0
    loss: float = 0.0  # running mean with a memory of about 50 steps
    cosine: float | None = None
    change: float = 0.0  # sum over steps of the mean absolute change of a strength
    active: float = 0.0
    bad_steps: int = 0  # in a row
    rollbacks: int = 0
    best: float | None = None  # the highest score of an evaluation in training


@dataclass
class State:
    """The one value that training changes."""

    model: Model
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler  # of the loss; does nothing unless products are in float16
    adaptation: Adaptation = field(default_factory=Adaptation)
    totals: Totals = field(default_factory=Totals)
    kernel_reason: str = ""  # why the lattice's step runs as it does
    grown_from: Dimensions | None = None
    computed: dict[str, str] = field(default_factory=dict)  # how: see construction/exactness.py
    inexact: list[str] = field(default_factory=list)  # what of it changed since the stage began

    def parameters(self) -> list[nn.Parameter]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]


@dataclass(frozen=True)
class Job:
    """A stage to be trained and who listens: what stays as it is while the state changes."""

    resolved: ResolvedStage
    schedule: Schedule
    folder: Path  # of the checkpoints
    emit: Emit
    should_stop: Callable[[], bool]
    alive: Interval  # between signs of life to the parent while there is nothing else to tell
    started: float  # on the clock of lived time, as if the stage had never been interrupted

    @property
    def stage(self) -> Stage:
        return self.resolved.stage

    @property
    def micro_batch(self) -> int:
        return self.resolved.execution.micro_batch

    def seconds(self) -> float:
        """For how long the stage has trained."""
        return lived.seconds() - self.started

    def show_life(self) -> None:
        if self.alive.due():
            self.emit(Alive())


class Interrupted(Exception):
    """Asked to stop; the checkpoint is written, or `path` is the one before it, or None."""

    def __init__(self, path: Path | None) -> None:
        super().__init__(str(path))
        self.path = path


def as_saved(state: State, stage: int) -> dict[str, Any]:
    """Everything that a checkpoint holds."""
    model = state.model
    return {
        "stage": stage,
        "size": asdict(model.network.size),
        "rule": model.network.rule.state_dict(),
        "task": model.task.state_dict(),
        "task_saved": tasks.saved(model.task),
        "optimizer": state.optimizer.state_dict(),
        "scaler": state.scaler.state_dict(),
        "connections": _saved_connections(model.network.connections),
        "plastic": vars(model.plastic).copy(),
        "adaptation": state.adaptation.saved(),
        "totals": asdict(state.totals),
        "computed": state.computed,
        "inexact": state.inexact,
    }


def _saved_connections(wiring: Connections) -> dict[str, Any]:
    return {
        "dimensions": list(wiring.dimensions),
        "periodic": wiring.periodic,
        "mask": wiring.mask,
        "start": wiring.start,
        "strength": wiring.strength,
    }
