"""What each stage is granted: dimensions, precision, micro-batch and checkpoint segments."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from cell_train._version import __version__
from cell_train.config.profiles import Profile
from cell_train.config.resolve import Resolution
from cell_train.config.schema import Execution, ResolvedStage, Stage, Triple
from cell_train.hardware.compiler import slow_path
from cell_train.hardware.probe import Budget
from cell_train.planning import bcm_stability, search
from cell_train.planning import rationale as reasons
from cell_train.planning.cost import calibration, history, memory, roofline, sizes, timing
from cell_train.planning.cost.memory import Footprint
from cell_train.planning.rationale import Change
from cell_train.planning.search import Choice, Terms, micro_batches, segments

CLEARLY = 0.05  # of the tensors' bytes: less is no rung worth a retry
FEW = 0.1  # of the samples asked for: a stage given less by --max-time is warned of


@dataclass(frozen=True)
class StagePlan:
    """One stage as it would run."""

    stage: Stage
    sources: dict[str, str]
    requested_dimensions: Triple
    execution: Execution
    footprint: Footprint
    fits: bool
    seconds: float
    disk_bytes: int
    thinned: dict[str, int] | None  # {"samples": used, "of": asked}, where something limits them
    reasons: dict[str, str]
    changes: tuple[Change, ...]
    measured_peak_bytes: int | None  # of the last run of the same configuration here
    warnings: tuple[str, ...]

    @property
    def number(self) -> int:
        """The stage's number."""
        return self.stage.stage


@dataclass(frozen=True)
class Plan:
    """All selected stages against one budget."""

    budget: Budget
    profile: str
    terms: Terms
    calibration: str  # where the constants of the predictions are from
    stages: tuple[StagePlan, ...]

    @property
    def fits(self) -> bool:
        return all(stage.fits for stage in self.stages)

    def resolved(self) -> list[ResolvedStage]:
        """What the workers get."""
        return [resolved_stage(stage) for stage in self.stages]


def make(
    resolutions: Sequence[Resolution],
    profile: Profile,
    budget: Budget,
    threads: int,
    *,
    max_time: float | None = None,
    grow: bool = False,
) -> Plan:
    """The plan for stages resolved under `profile`; it may hold stages that do not fit.

    `max_time` is in seconds over all stages. Raises BudgetError when it is too little.
    """
    room = int(budget.usable_bytes * (1 - timing.shipped()["headroom"]))
    known = calibration.load(budget)
    terms = Terms(profile, budget.kind, budget.bf16, room, known)
    if grow:
        resolutions = search.grow(resolutions, terms)
    choices = [search.choose(one, terms) for one in resolutions]
    if max_time is not None:
        choices = _in_time(choices, max_time)
    stages = [_plan_stage(choice, terms, budget, threads) for choice in choices]
    return Plan(budget, profile.name, terms, known.source, tuple(stages))


def resolved_stage(plan: StagePlan, start_from: str | None = None) -> ResolvedStage:
    """What the worker gets."""
    return ResolvedStage(1, __version__, plan.stage, plan.execution, start_from, plan.sources)


def step_down(stage: Stage, execution: Execution) -> tuple[Execution, str] | None:
    """(the next rung that takes clearly less memory, what it is), or None at the ladder's end.

    Longer segments first, then a smaller micro-batch, then cells stored in half where the stage
    has memory_optimizations; the effective batch stays. Density stays too: a checkpoint's wiring
    is what the stage goes on from.
    """
    now = _tensors(stage, execution)
    for lower, change in _rungs(stage, execution):
        saved = now - _tensors(stage, lower)
        if saved >= CLEARLY * now:
            peak = execution.predicted_peak_bytes - saved
            return replace(lower, predicted_peak_bytes=peak), change
    return None


def _rungs(stage: Stage, execution: Execution) -> Iterator[tuple[Execution, str]]:
    for length in segments(sizes.ticks(stage)):
        if length > execution.segment:
            yield replace(execution, segment=length), f"checkpoint segments of {length} ticks"
    for size in micro_batches(stage.batch_size, execution.micro_batch // 2):
        accumulation = stage.batch_size // size
        smaller = replace(execution, micro_batch=size, accumulation=accumulation)
        yield smaller, f"micro-batches of {size} x {accumulation}"
    if execution.precision == "fp32" and stage.memory_optimizations:
        half = "bf16" if execution.device == "cpu" else "fp16"  # which every GPU has
        yield replace(execution, precision=half), f"cells stored in {half}"


def _tensors(stage: Stage, execution: Execution) -> int:
    return memory.footprint(
        stage,
        micro_batch=execution.micro_batch,
        segment=execution.segment,
        precision=execution.precision,
        kind=execution.device.partition(":")[0],
    ).tensors


def _plan_stage(choice: Choice, terms: Terms, budget: Budget, threads: int) -> StagePlan:
    stage, rung, samples = choice.stage, choice.rung, choice.samples
    execution = Execution(
        device=budget.device,
        threads=threads,
        precision=search.precision(stage, budget.bf16),
        micro_batch=rung.micro_batch,
        accumulation=stage.batch_size // rung.micro_batch,
        segment=rung.segment,
        samples_per_epoch=samples,
        predicted_peak_bytes=rung.peak,
        budget_bytes=budget.usable_bytes,
    )
    epochs, asked = stage.epochs, stage.dataset_limit
    notes = (bcm_stability.cycling(stage), _hurried(choice), _slow(stage, budget))
    return StagePlan(
        stage=stage,
        sources=choice.resolution.sources,
        requested_dimensions=choice.resolution.requested_dimensions,
        execution=execution,
        footprint=rung.footprint,
        fits=rung.peak <= terms.room,
        seconds=choice.pace.seconds,
        # beside the newest, the best and the one being written
        disk_bytes=(stage.training.keep_checkpoints + 2) * memory.checkpoint_bytes(stage),
        thinned={"samples": samples * epochs, "of": asked * epochs} if samples < asked else None,
        reasons=reasons.reasons(choice, execution, terms),
        changes=reasons.changes(choice, execution, terms),
        measured_peak_bytes=history.measured(stage, execution),
        warnings=tuple(w for w in notes if w),
    )


def _hurried(choice: Choice) -> str | None:
    """What to say where --max-time leaves a stage too few samples to learn from."""
    asked, steps = choice.stage.dataset_limit, choice.pace.steps
    if not choice.samples_reason.startswith("--max-time") or choice.samples >= FEW * asked:
        return None
    return (
        f"--max-time leaves it {choice.samples} of {asked} samples an epoch"
        f" ({steps} step{'' if steps == 1 else 's'}), too few to learn much from: give it more"
        " time, leave stages out (--stages) or make the lattice smaller"
    )


def _slow(stage: Stage, budget: Budget) -> str | None:
    """What to say where the step cannot be compiled as the stage would have it."""
    if not sizes.compilable(stage):
        return None
    if budget.kind == "cpu":
        slow = slow_path()
        return str(slow) if slow else None
    if budget.capability is not None and budget.capability < roofline.OLDEST:
        number, least = (".".join(map(str, one)) for one in (budget.capability, roofline.OLDEST))
        return (
            f"{budget.gpu} has compute capability {number} and PyTorch's CUDA builds ask for"
            f" {least}: train with --device cpu"
        )
    missing = sizes.fused_missing(stage)
    return f"{missing}: the step runs in plain torch, several times slower" if missing else None


def _in_time(choices: Sequence[Choice], max_time: float) -> list[Choice]:
    """The choices with fewer samples, where all of them take longer than `max_time` seconds."""
    paces = timing.within(max_time, [choice.pace for choice in choices])
    return [
        replace(
            choice,
            samples=pace.steps * choice.stage.batch_size,
            samples_reason=f"--max-time {max_time:g} s",
        )
        if pace.steps < choice.pace.steps
        else choice
        for choice, pace in zip(choices, paces, strict=True)
    ]


def as_json(plan: Plan) -> dict[str, Any]:
    """The plan as data, for --json and plan.json."""
    return {
        "schema": 1,
        "budget": {
            "vram_gb": plan.budget.available_gb,
            "profile": plan.profile,
            "source": plan.budget.source,
            "device": plan.budget.device,
            "total_bytes": plan.budget.total_bytes,
            "free_bytes": plan.budget.free_bytes,
            "usable_bytes": plan.budget.usable_bytes,
            "room_bytes": plan.terms.room,
        },
        "calibration": plan.calibration,
        "fits": plan.fits,
        "seconds": round(sum(stage.seconds for stage in plan.stages), 1),
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
        "measured_peak_bytes": plan.measured_peak_bytes,
        "predicted": dict(vars(plan.footprint)),
        "budget_bytes": execution.budget_bytes,
        "seconds": round(plan.seconds, 1),
        "disk_bytes": plan.disk_bytes,
        "fits": plan.fits,
        "reasons": plan.reasons,
        "changed": [asdict(change) for change in plan.changes],
        "warnings": list(plan.warnings),
    }
