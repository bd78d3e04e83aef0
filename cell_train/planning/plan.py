"""What each stage is granted: dimensions, precision, micro-batch and checkpoint segments."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cell_train import __version__
from cell_train.config import yaml_tree
from cell_train.config.profiles import FIT, Profile
from cell_train.config.resolve import Resolution
from cell_train.config.schema import Execution, ResolvedStage, Stage, Triple
from cell_train.errors import BudgetError
from cell_train.planning import memory, stability
from cell_train.planning.memory import Footprint
from cell_train.planning.probe import CUDA_CONTEXT, GIB, Budget

RATES = Path(__file__).with_name("rates.yaml")
SEGMENTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)  # ticks between stored states


@dataclass(frozen=True)
class StagePlan:
    """One stage as it would run."""

    stage: Stage
    sources: dict[str, str]
    requested_dimensions: Triple
    execution: Execution
    footprint: Footprint
    seconds: float
    disk_bytes: int
    thinned: dict[str, int] | None  # {"samples": used, "of": asked}, where the profile limits them
    reasons: dict[str, str]
    warnings: list[str]

    @property
    def fits(self) -> bool:
        return self.footprint.total <= self.execution.budget_bytes


@dataclass(frozen=True)
class Plan:
    """All selected stages against one budget."""

    budget: Budget
    profile: str
    stages: tuple[StagePlan, ...]

    @property
    def fits(self) -> bool:
        return all(stage.fits for stage in self.stages)


def make(resolutions: Sequence[Resolution], profile: Profile, budget: Budget, threads: int) -> Plan:
    """The plan for stages resolved under `profile`; it may hold stages that do not fit."""
    rates = yaml_tree.load(RATES)[budget.kind]
    stages = [_plan_stage(one, profile, budget, threads, rates) for one in resolutions]
    return Plan(budget, profile.name, tuple(stages))


def require_fit(plan: Plan, at: Callable[[float], Plan]) -> None:
    """Raise BudgetError when a stage does not fit, naming the smallest budget that would do.

    `at` makes the plan for a GPU of so many GiB, whose profile may then be another.
    """
    missed = [stage for stage in plan.stages if not stage.fits]
    if not missed:
        return
    worst = max(missed, key=lambda stage: stage.footprint.total)
    need, have = worst.footprint.total, worst.execution.budget_bytes
    sentence = (
        f"stage {missed[0].stage.stage} does not fit"
        if len(missed) == 1
        else f"stages {', '.join(str(stage.stage.stage) for stage in missed)} do not fit"
    )
    sentence += (
        f": stage {worst.stage.stage} needs at least {need / GIB:.2f} GiB beside what the device"
        f" takes and has {have / GIB:.2f} GiB, {(need - have) / GIB:.2f} GiB too little;"
    )
    if plan.budget.available_gb is None:
        raise BudgetError(f"{sentence} the smallest budget that fits is {need / GIB:.2f} GiB free.")
    smallest = smallest_budget(plan, at)
    if smallest is None:
        raise BudgetError(f"{sentence} no budget fits; make the lattice or its channels smaller.")
    raise BudgetError(f"{sentence} the smallest budget that fits is --vram {smallest:g}.")


def smallest_budget(plan: Plan, at: Callable[[float], Plan]) -> float | None:
    """GiB of the smallest GPU all stages fit on, in steps of 0.1; None if a larger GPU's profile
    always asks for more than it brings."""
    for _ in range(20):
        need = max(stage.footprint.total for stage in plan.stages if not stage.fits)
        gigabytes = math.ceil((need + CUDA_CONTEXT) / GIB * 10) / 10
        plan = at(gigabytes)
        if plan.fits:
            return gigabytes
    return None


def resolved_stage(plan: StagePlan, start_from: str | None = None) -> ResolvedStage:
    """What the worker gets."""
    return ResolvedStage(1, __version__, plan.stage, plan.execution, start_from, plan.sources)


def segments(ticks: int) -> list[int]:
    """Checkpoint segments worth trying: memory grows again beyond the root of T."""
    return [segment for segment in SEGMENTS if segment <= math.ceil(math.sqrt(ticks))]


def micro_batches(batch_size: int, limit: int) -> list[int]:
    """Divisors of the effective batch up to `limit`, largest first, so that it is kept exactly."""
    return [size for size in range(min(limit, batch_size), 0, -1) if batch_size % size == 0]


def step_down(stage: Stage, execution: Execution) -> tuple[Execution, str] | None:
    """(the next rung that takes less memory, what it is), or None at the ladder's end.

    Longer segments first, then a smaller micro-batch; the effective batch stays.
    """
    longer = [one for one in segments(memory.ticks(stage)) if one > execution.segment]
    if longer:
        change = f"checkpoint segments of {longer[0]} ticks"
        return _repredicted(stage, replace(execution, segment=longer[0])), change
    smaller = micro_batches(stage.batch_size, execution.micro_batch // 2)
    if smaller:
        accumulation = stage.batch_size // smaller[0]
        changed = replace(execution, micro_batch=smaller[0], accumulation=accumulation)
        return _repredicted(stage, changed), f"micro-batches of {smaller[0]} x {accumulation}"
    return None


def _repredicted(stage: Stage, execution: Execution) -> Execution:
    peak = memory.footprint(
        stage,
        micro_batch=execution.micro_batch,
        segment=execution.segment,
        precision=execution.precision,
        kind=execution.device.partition(":")[0],
    )
    return replace(execution, predicted_peak_bytes=peak.total)


def _plan_stage(
    resolution: Resolution, profile: Profile, budget: Budget, threads: int, rates: dict[str, float]
) -> StagePlan:
    stage = resolution.stage
    precision = _precision(stage, budget)
    micro_batch, segment, peak, chosen = _search(stage, profile, budget, precision)
    per_epoch, thinned, samples_reason = _samples(resolution, profile)
    execution = Execution(
        device=budget.device,
        threads=threads,
        precision=precision,
        micro_batch=micro_batch,
        accumulation=stage.batch_size // micro_batch,
        segment=segment,
        samples_per_epoch=per_epoch,
        predicted_peak_bytes=peak.total,
        budget_bytes=budget.usable_bytes,
    )
    sources = resolution.sources
    reasons = {
        "dimensions": _dimensions_reason(resolution),
        "connection_density": sources["lattice.connection_density"],
        "precision": f"{precision} ({sources['optimization.mixed_precision.enabled']})",
        **chosen,
        "samples": samples_reason,
    }
    return StagePlan(
        stage=stage,
        sources=sources,
        requested_dimensions=resolution.requested_dimensions,
        execution=execution,
        footprint=peak,
        seconds=_seconds(stage, execution, rates),
        # beside the newest, the best and the one being written
        disk_bytes=(stage.training.keep_checkpoints + 2) * memory.checkpoint_bytes(stage),
        thinned=thinned,
        reasons=reasons,
        warnings=[warning for warning in (stability.cycling(stage),) if warning],
    )


def _precision(stage: Stage, budget: Budget) -> str:
    if not stage.optimization.mixed_precision.enabled:
        return "fp32"
    return "bf16" if budget.bf16 else "fp16"


def _search(
    stage: Stage, profile: Profile, budget: Budget, precision: str
) -> tuple[int, int, Footprint, dict[str, str]]:
    """(micro-batch, segment, footprint, reasons) of the fastest that fits, else of the smallest.

    Fastest first: the largest micro-batch, then the shortest segment. Longer segments need
    gradient_checkpointing, smaller micro-batches batch_size_auto_scaling; `fit` has both.
    """
    flags, limit = stage.optimization, profile.batch_size_limit or stage.batch_size
    free = profile.name == FIT
    sizes = micro_batches(stage.batch_size, limit)
    lengths = segments(memory.ticks(stage))
    if not (flags.gradient_checkpointing or free):
        lengths = lengths[:1]
    if not (flags.batch_size_auto_scaling or free):
        sizes = sizes[:1]
    tried: list[tuple[int, int, Footprint]] = []
    for size in sizes:
        for length in lengths:
            peak = memory.footprint(
                stage, micro_batch=size, segment=length, precision=precision, kind=budget.kind
            )
            tried.append((size, length, peak))
            if peak.total <= budget.usable_bytes:
                return size, length, peak, _search_reasons(stage, sizes[0], size, length, profile)
    size, length, peak = min(tried, key=lambda one: one[2].total)
    return size, length, peak, _search_reasons(stage, sizes[0], size, length, profile)


def _search_reasons(
    stage: Stage, largest: int, size: int, segment: int, profile: Profile
) -> dict[str, str]:
    if size < largest:
        batch = f"{largest} does not fit the memory"
    elif largest < stage.batch_size:
        batch = f"memory:{profile.name} allows {profile.batch_size_limit}"
        if largest != profile.batch_size_limit:
            batch += f"; {largest} is the largest that divides {stage.batch_size}"
    else:
        batch = "the whole batch fits"
    if segment > 1:
        length = "the shortest that fits, if any does"
    elif stage.optimization.gradient_checkpointing:
        length = "every tick's state fits"
    else:
        length = "gradient_checkpointing is off"
    return {"batch_size": batch, "segment": length}


def _samples(resolution: Resolution, profile: Profile) -> tuple[int, dict[str, int] | None, str]:
    """(samples an epoch, what was left out, why); an override of dataset_limit is obeyed."""
    stage = resolution.stage
    total = profile.samples.get(stage.stage)
    source = resolution.sources["dataset_limit"]
    if total is None or resolution.overridden("dataset_limit"):
        return stage.dataset_limit, None, source
    per_epoch = max(1, min(stage.dataset_limit, total // stage.epochs))
    if per_epoch == stage.dataset_limit:
        return per_epoch, None, source
    thinned = {"samples": per_epoch * stage.epochs, "of": stage.dataset_limit * stage.epochs}
    return per_epoch, thinned, f"memory:{profile.name} limits stage {stage.stage} to {total}"


def _dimensions_reason(resolution: Resolution) -> str:
    granted, wanted = resolution.stage.lattice.dimensions, resolution.requested_dimensions
    source = resolution.sources["lattice.dimensions"]
    return f"as asked ({source})" if granted == wanted else source


def _seconds(stage: Stage, execution: Execution, rates: dict[str, float]) -> float:
    """Predicted duration. Flops of one cell at one tick for one sample, forward and backward:
    aggregation over the connections, and the rule's two layers with their gate."""
    lattice = stage.lattice
    c, h, k = lattice.channels, lattice.hidden, lattice.kernels
    density = lattice.connection_density or 1.0
    flops = 3 * (2 * 26 * density * k * c + 2 * h * c * (1 + k) + 4 * h * c)
    recomputed = 4 / 3 if execution.segment > 1 else 1.0
    samples = execution.samples_per_epoch * stage.epochs
    steps = math.ceil(execution.samples_per_epoch / stage.batch_size) * stage.epochs
    work = samples * memory.cells(lattice.dimensions) * memory.ticks(stage) * flops * recomputed
    overhead = steps * execution.accumulation * rates["step_overhead_s"]
    return work / rates["flops_per_second"] + overhead


def as_json(plan: Plan) -> dict[str, Any]:
    """The plan as data, for --json and plan.json."""
    return {
        "schema": 1,
        "budget": {
            "vram_gb": plan.budget.available_gb,
            "profile": plan.profile,
            "source": plan.budget.source,
            "device": plan.budget.device,
            "usable_bytes": plan.budget.usable_bytes,
        },
        "stages": [_stage_as_json(stage) for stage in plan.stages],
    }


def _stage_as_json(plan: StagePlan) -> dict[str, Any]:
    stage, execution = plan.stage, plan.execution
    return {
        "stage": stage.stage,
        "description": stage.description,
        "requested_dimensions": plan.requested_dimensions,
        "dimensions": stage.lattice.dimensions,
        "plasticity_profile": stage.plasticity_profile,
        "mixed_precision": stage.optimization.mixed_precision.enabled,
        "precision": execution.precision,
        "connection_density": stage.lattice.connection_density,
        "batch_size": execution.micro_batch,
        "accumulation": execution.accumulation,
        "segment": execution.segment,
        "epochs": stage.epochs,
        "samples_per_epoch": execution.samples_per_epoch,
        "thinned": plan.thinned,
        "predicted_peak_bytes": plan.footprint.total,
        "predicted": dict(vars(plan.footprint)),
        "budget_bytes": execution.budget_bytes,
        "seconds": round(plan.seconds, 1),
        "disk_bytes": plan.disk_bytes,
        "fits": plan.fits,
        "reasons": plan.reasons,
        "warnings": plan.warnings,
    }
