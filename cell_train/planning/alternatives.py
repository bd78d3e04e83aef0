"""What would fit where a plan does not."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

from cell_train.config.profiles import FIT
from cell_train.config.schema import Stage
from cell_train.errors import BudgetError
from cell_train.formatting import shape
from cell_train.hardware.probe import CUDA_CONTEXT, GIB
from cell_train.planning import search
from cell_train.planning.cost.timing import shipped
from cell_train.planning.plan import Plan, StagePlan
from cell_train.planning.search import Terms

DENSITIES = (0.7, 0.5, 0.3, 0.1)
NARROWEST = 4  # channels
SMALLEST = 4  # cells along the longest axis


def require_fit(plan: Plan, at: Callable[[float], Plan]) -> None:
    """Raise BudgetError when a stage does not fit, naming the nearest things that would.

    `at` makes the plan for a GPU of so many GiB, whose profile may then be another.
    """
    missed = [stage for stage in plan.stages if not stage.fits]
    if not missed:
        return
    worst = max(missed, key=lambda stage: stage.footprint.total)
    number, need, room = worst.number, worst.footprint.total, plan.terms.room
    subject = (
        f"stage {number} does not fit"
        if len(missed) == 1
        else f"stages {', '.join(str(stage.number) for stage in missed)} do not fit"
    )
    sentence = (
        f"{subject}: stage {number} needs at least {need / GIB:.2f} GiB and may take"
        f" {room / GIB:.2f} GiB, {(need - room) / GIB:.2f} GiB too little; {_budget(plan, at)}"
    )
    other = what_fits(worst.stage, plan.terms)
    if other:
        sentence += f"; or stage {number} fits with {' or with '.join(other)}"
    raise BudgetError(f"{sentence}.")


def larger(plan: Plan, at_most: Callable[[], Plan]) -> list[str]:
    """What the profile's table holds back although the memory is there, as sentences.

    `at_most` makes the plan where the memory model alone decides. On a CPU the table keeps runs
    short, so nothing is said.
    """
    if plan.budget.kind == "cpu" or not any(_held_back(stage, plan) for stage in plan.stages):
        return []
    free = {stage.number: stage for stage in at_most().stages}
    chosen = [stage for stage in plan.stages if _held_back(stage, plan)]
    better = [
        (stage, free[stage.number])
        for stage in chosen
        if free[stage.number].fits and volume(free[stage.number]) > volume(stage)
    ]
    if not better:
        return []
    capped, whole = max(better, key=lambda pair: volume(pair[1]))

    def said(stage: StagePlan) -> str:
        share = stage.footprint.total / plan.terms.room
        return f"{shape(stage.stage.lattice.dimensions)} ({share:.0%} of the memory)"

    return [
        f"profile {plan.profile} caps stage {capped.number} at {said(capped)};"
        f" --profile fit takes it at {said(whole)}"
    ]


def _held_back(stage: StagePlan, plan: Plan) -> bool:
    return plan.profile != FIT and math.prod(stage.requested_dimensions) > volume(stage)


def volume(stage: StagePlan) -> int:
    """Cells of a planned stage's lattice."""
    return math.prod(stage.stage.lattice.dimensions)


def what_fits(stage: Stage, terms: Terms) -> list[str]:
    """Overrides of which each alone makes a stage fit, those that give up least first."""
    found = (
        next((words for words, changed in kind if search.fits(changed, terms)), None)
        for kind in (
            _flags(stage),
            _precision(stage),
            _densities(stage),
            _channels(stage),
            _dimensions(stage),
        )
    )
    return [words for words in found if words is not None]


def smallest_budget(plan: Plan, at: Callable[[float], Plan]) -> float | None:
    """GiB of the smallest GPU all stages fit on, in steps of 0.1; None if a larger GPU's profile
    always asks for more than it brings."""
    for _ in range(20):
        need = max(stage.footprint.total for stage in plan.stages if not stage.fits)
        gigabytes = math.ceil((_with_headroom(need) + CUDA_CONTEXT) / GIB * 10) / 10
        plan = at(gigabytes)
        if plan.fits:
            return gigabytes
    return None


def _budget(plan: Plan, at: Callable[[float], Plan]) -> str:
    if plan.budget.available_gb is None:
        need = max(stage.footprint.total for stage in plan.stages)
        return f"the smallest budget that fits is {_with_headroom(need) / GIB:.2f} GiB free"
    smallest = smallest_budget(plan, at)
    if smallest is None:
        return "no budget fits"
    return f"the smallest budget that fits is --vram {smallest:g}"


def _with_headroom(need: int) -> float:
    return need / (1 - shipped()["headroom"])


def _flags(stage: Stage) -> Iterator[tuple[str, Stage]]:
    """The search's own moves, where they are switched off: one of them, then both."""
    flags = stage.optimization
    longer, smaller = "optimization.gradient_checkpointing", "optimization.batch_size_auto_scaling"
    tried = (
        (f"{longer}=true", replace(flags, gradient_checkpointing=True)),
        (f"{smaller}=true", replace(flags, batch_size_auto_scaling=True)),
        (
            f"{longer}=true {smaller}=true",
            replace(flags, gradient_checkpointing=True, batch_size_auto_scaling=True),
        ),
    )
    return ((words, replace(stage, optimization=one)) for words, one in tried if one != flags)


def _precision(stage: Stage) -> Iterator[tuple[str, Stage]]:
    if not stage.optimization.mixed_precision.enabled:
        mixed = replace(stage.optimization.mixed_precision, enabled=True)
        changed = replace(stage.optimization, mixed_precision=mixed)
        yield "optimization.mixed_precision.enabled=true", replace(stage, optimization=changed)


def _densities(stage: Stage) -> Iterator[tuple[str, Stage]]:
    for density in DENSITIES:
        if density < (stage.lattice.connection_density or 1.0):
            lattice = replace(stage.lattice, connection_density=density)
            yield f"lattice.connection_density={density}", replace(stage, lattice=lattice)


def _channels(stage: Stage) -> Iterator[tuple[str, Stage]]:
    channels = stage.lattice.channels // 2
    while channels >= NARROWEST:
        lattice = replace(stage.lattice, channels=channels)
        yield f"lattice.channels={channels}", replace(stage, lattice=lattice)
        channels //= 2


def _dimensions(stage: Stage) -> Iterator[tuple[str, Stage]]:
    """The lattice with its longest axis a cell shorter each time, the others in proportion."""
    asked = stage.lattice.dimensions
    for longest in range(max(asked) - 1, SMALLEST - 1, -1):
        axes = [max(3, cells * longest // max(asked)) for cells in asked]
        lattice = replace(stage.lattice, dimensions=axes)
        yield f"lattice.dimensions={axes}".replace(" ", ""), replace(stage, lattice=lattice)
