"""When a stage does what: its epochs of steps, its learning rate, and what is due at intervals."""

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from cell_train.config.schema import ResolvedStage, Stage
from cell_train.tasks.seeds import generator


@dataclass(frozen=True)
class Schedule:
    """How many steps a stage has, and how large its learning rates are at each."""

    epochs: int
    steps_per_epoch: int
    warmup_steps: int
    final_learning_rate: float  # of the start's, after the last step

    @property
    def steps(self) -> int:
        return self.steps_per_epoch * self.epochs

    def factor(self, step: int, rollbacks: int = 0) -> float:
        """What the learning rates are multiplied by at `step`.

        A linear warm-up, then a cosine down to `final_learning_rate`; half after each rollback.
        """
        warm = min((step + 1) / max(self.warmup_steps, 1), 1.0)
        wave = 0.5 * (1 + math.cos(math.pi * step / max(self.steps, 1)))
        factor = warm * (self.final_learning_rate + (1 - self.final_learning_rate) * wave)
        factor *= 0.5**rollbacks
        return factor


@dataclass
class Interval:
    """Says at most once in so many seconds that something is due."""

    seconds: float
    last: float = -math.inf

    def due(self) -> bool:
        now = time.monotonic()
        if now - self.last < self.seconds:
            return False
        self.last = now
        return True


def schedule(resolved: ResolvedStage, available: int) -> Schedule:
    """The stage's schedule where `available` training samples are there."""
    stage = resolved.stage
    take = min(resolved.execution.samples_per_epoch, available)
    return Schedule(
        epochs=stage.epochs,
        steps_per_epoch=max(take // stage.batch_size, 1),
        warmup_steps=stage.training.warmup_steps,
        final_learning_rate=stage.training.final_learning_rate,
    )


def epoch_samples(stage: Stage, plan: Schedule, available: int, epoch: int) -> Tensor:
    """[steps_per_epoch · batch_size] int64, an epoch's samples in a seeded random order."""
    take = plan.steps_per_epoch * stage.batch_size
    return epoch_order(available, take, stage.seed, stage.stage, "order", epoch)


def epoch_order(count: int, take: int, *parts: int | str) -> Tensor:
    """[take] int64, the samples of an epoch: of `count`, in a seeded random order."""
    return torch.randperm(count, generator=generator(*parts))[:take]
