"""Measuring this machine: a tiny stage and a larger one, each trained by a worker as in a run.

What both take gives the constants that no formula has, a line through two points each:
peak = base + (1 + allocator) tensors, and step = overhead + work / rate.
"""

import contextlib
import itertools
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cell_train import cache
from cell_train.config import resolve
from cell_train.config.schema import Stage
from cell_train.errors import BY_NAME, CelltrainError
from cell_train.events import Event
from cell_train.hardware import torch_build
from cell_train.planning.cost import calibration, timing
from cell_train.planning.cost.memory import SHIPPED, Constants
from cell_train.planning.plan import StagePlan, resolved_stage
from cell_train.planning.request import Request, load, plan_that_fits, resolve_stages
from cell_train.run_folder.paths import StageFiles
from cell_train.workers import launch, supervisor
from cell_train.workers.supervisor import Interruption

SILENCE = 240.0  # seconds: the first stage may have to compile the step
LEAST_OVERHEAD = 1e-4  # seconds: a rate must be positive
COMMON = (
    *("epochs=1", "batch_size=8", "data.path=builtin", "data.held_out=8", "monitor.log_every=0"),
    "optimization.mixed_precision.enabled=false",
    "plasticity.enable_clustering=false",
)
TINY = ("lattice.dimensions=[8,8,8]", "dataset_limit=160")  # 20 steps of some milliseconds
LARGER = ("lattice.dimensions=[24,24,24]", "dataset_limit=48")  # 6 steps of a second on two cores


@dataclass(frozen=True)
class Measured:
    """What one stage took."""

    tensors_bytes: int  # as predicted, exact to a few percent
    peak_bytes: int  # of the worker
    work: float  # flops of a step
    step_seconds: float  # the median


def measure(
    device: str, interruption: Interruption, tell: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Measure the device and keep what was found; all of it as data. `tell` hears how it goes.

    Raises ConfigError for a device that is not there, BudgetError where the stages do not fit,
    what a worker fails with, and CelltrainError where nothing can be kept.
    """
    loaded = [
        load(Request(stages="5", overrides=(*COMMON, *size), profile="fit", device=device), True)
        for size in (TINY, LARGER)
    ]
    torch_build.require(loaded[0].budget, torch_build.find())
    plans = [plan_that_fits(one, resolve_stages(one)).stages[0] for one in loaded]
    with _keeping():  # before the minute it takes
        cache.room(make=True)
    names = ("the small stage", "the larger stage")
    tiny, larger = (
        train(plan, interruption, lambda how, name=name: tell(f"{name}: {how}"))  # type: ignore[misc]
        for name, plan in zip(names, plans, strict=True)
    )
    budget = loaded[0].budget
    constants, rates = fitted(tiny, larger, budget.kind)
    with _keeping():
        path = calibration.save(budget, constants, rates)
    return {
        "schema": 1,
        **calibration.identity(budget),
        "base_bytes": constants.base,
        "allocator": constants.allocator,
        "rates": rates,
        "measured": [vars(tiny), vars(larger)],
        "file": str(path),
    }


@contextlib.contextmanager
def _keeping() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = cache.location() or "the cache"
        raise CelltrainError(
            f"{where}: what was measured cannot be kept there ({error.strerror});"
            " set XDG_CACHE_HOME to a folder of your own that can be written."
        ) from None


def fitted(tiny: Measured, larger: Measured, kind: str) -> tuple[Constants, dict[str, float]]:
    """The lines through both.

    What is lost between tensors differs from run to run of one stage (docs/memory.md), and on a GPU
    is not seen at all: a measurement raises the memory that is shipped, for the worst, and never
    lowers it.
    """
    more = larger.tensors_bytes - tiny.tensors_bytes
    lost = max(0.0, (larger.peak_bytes - tiny.peak_bytes) / more - 1)
    allocator = max(round(lost, 4), SHIPPED[kind].allocator)
    base = max(tiny.peak_bytes - round((1 + lost) * tiny.tensors_bytes), SHIPPED[kind].base)
    if larger.step_seconds <= tiny.step_seconds:
        raise CelltrainError(
            f"a step of {larger.work:.0e} operations took {larger.step_seconds:.3f} s and one of"
            f" {tiny.work:.0e} took {tiny.step_seconds:.3f} s: the machine is too busy to be"
            " measured; try again when it is not."
        )
    rate = (larger.work - tiny.work) / (larger.step_seconds - tiny.step_seconds)
    overhead = max(LEAST_OVERHEAD, tiny.step_seconds - tiny.work / rate)
    return Constants(base, allocator), {"flops_per_second": rate, "step_overhead_s": overhead}


def train(
    plan: StagePlan, interruption: Interruption, tell: Callable[[str], None] = lambda _: None
) -> Measured:
    """Run the stage in a worker, in a folder that goes afterwards."""
    times: list[float] = []
    tell("its worker starts")

    def take(event: Event) -> None:
        if event["event"] == "step":
            times.append(event["time"])
            if event["step"] in (1, event["steps"]):
                tell(f"step {event['step']} of {event['steps']}")

    with tempfile.TemporaryDirectory(prefix="calibrate-", dir=cache.room(make=True)) as folder:
        files = StageFiles(Path(folder))
        resolved = resolved_stage(plan)
        files.resolved.write_text(resolve.write(resolved))
        variables = launch.settings(resolved.execution)
        worker = launch.start(launch.command, files.resolved, files.log, variables)
        ending = supervisor.attend(worker, interruption, None, take, SILENCE)
    if not ending.complete or ending.result is None:
        failure = ending.failure or {}
        said = failure.get("message") or f"its worker ended with code {ending.code}"
        kind = BY_NAME.get(str(failure.get("error")), CelltrainError)
        raise kind(f"the stage that is measured failed: {said}")
    steps = [after - before for before, after in itertools.pairwise(times)]
    return Measured(
        tensors_bytes=plan.footprint.tensors,
        peak_bytes=ending.result["peak_bytes"],
        work=work(plan.stage),
        step_seconds=statistics.median(steps),
    )


def work(stage: Stage) -> float:
    """Flops of a step, as the time model counts them."""
    unit = {"flops_per_second": 1.0, "step_overhead_s": 0.0}
    return timing.step_seconds(stage, micro_batch=stage.batch_size, segment=1, rates=unit)
