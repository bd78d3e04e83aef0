"""How long stages take, and fewer samples where there is less time.

The rates are a machine's: planning/rates.yaml has what is shipped.
"""

import functools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cell_train.config.schema import Stage
from cell_train.config.yaml import nodes
from cell_train.errors import BudgetError, ConfigError
from cell_train.hardware.processor import instruction_set
from cell_train.planning.cost import sizes
from cell_train.tasks import plan as tasks
from cell_train.tasks.plan import How

RATES = Path(__file__).with_name("rates.yaml")
_DURATION = re.compile(r"(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,9}(?:\.[0-9]+)?)s)?")


@dataclass(frozen=True)
class Pace:
    """A stage's steps and what one takes."""

    steps: int  # an epoch
    epochs: int
    step_seconds: float

    @property
    def seconds(self) -> float:
        return self.steps * self.epochs * self.step_seconds


@functools.cache
def shipped() -> Mapping[str, Any]:
    """rates.yaml: the rates by kind of device (cpu or cuda), and what holds on all of them.

    Of CPUs those whose vectors are like this machine's.
    """
    known = dict(nodes.load(RATES))
    return known | {"cpu": known["cpu"][instruction_set()]}


def step_seconds(
    stage: Stage,
    *,
    micro_batch: int,
    segment: int,
    rates: Mapping[str, float],
    slowdown: float = 1.0,
) -> float:
    """Predicted duration of one optimizer step.

    Flops of one cell at one tick for one sample, forward and backward: aggregation over the
    connections, and the rule's two layers with their gate; a third factor reads the connections
    once more. Each forward pass adds an overhead.
    Where the step is not the one that the rates were measured with, the work takes `slowdown` times
    as long. A pattern that is stored is shown, with its inverse, in so many forward passes more.
    """
    lattice = stage.lattice
    c, h, k = lattice.channels, lattice.hidden, lattice.kernels
    density = lattice.connection_density or 1.0
    flops = 3 * (2 * 26 * density * k * c + 2 * h * c * (1 + k) + 4 * h * c)
    if sizes.credited(stage):
        flops += 2 * 26 * density * c
    recomputed = shipped()["recomputed"] if segment > 1 else 1.0
    cells = sizes.cells(lattice.dimensions) * sizes.ticks(stage)
    passes, overheads = recomputed, stage.batch_size // micro_batch
    if sizes.stores(stage):
        task = tasks.load(stage, How(micro_batch, stage.batch_size // micro_batch, on_cpu=True))
        passes += 2 / 3 * task.shows
        overheads += task.groups * task.shows
    work = stage.batch_size * cells * flops * passes / rates["flops_per_second"]
    return slowdown * work + overheads * rates["step_overhead_s"]


def pace(stage: Stage, samples_per_epoch: int, seconds: float) -> Pace:
    """The last step of an epoch counts as a whole one."""
    return Pace(math.ceil(samples_per_epoch / stage.batch_size), stage.epochs, seconds)


def parse_duration(text: str) -> float:
    """Seconds of 90, 90s, 30m, 2h or 1h30m. Raises ConfigError for anything else."""
    whole = f"{text}s" if re.fullmatch(r"[0-9.]+", text) else text
    match = _DURATION.fullmatch(whole)
    hours, minutes, seconds = match.groups(default="0") if match else ("0", "0", "0")
    total = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    if total <= 0:
        raise ConfigError(f"--max-time {text!r}: write a time such as 90s, 30m, 2h or 1h30m.")
    return total


def within(limit: float, paces: Sequence[Pace]) -> list[Pace]:
    """The paces with so many fewer steps, in one proportion, that all stages take `limit` seconds.

    Raises BudgetError when even one step an epoch takes longer.
    """
    if sum(one.seconds for one in paces) <= limit:
        return list(paces)
    least = sum(one.seconds for one in _shortened(paces, 0.0))
    if least > limit:
        raise BudgetError(
            f"--max-time: {limit:g} s are too few; one step an epoch already takes"
            f" --max-time {math.ceil(least * 10) / 10:g}s."
        )
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        fits = sum(one.seconds for one in _shortened(paces, middle)) <= limit
        low, high = (middle, high) if fits else (low, middle)
    return _shortened(paces, low)


def _shortened(paces: Sequence[Pace], share: float) -> list[Pace]:
    return [replace(one, steps=max(1, int(one.steps * share))) for one in paces]
