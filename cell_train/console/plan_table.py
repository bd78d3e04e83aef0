"""A plan as a person reads it. Plain text: rich takes longer to import than a plan to make."""

import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, TextIO

from cell_train import invocation
from cell_train.formatting import duration, gib, shape
from cell_train.hardware.probe import CUDA_CONTEXT
from cell_train.planning.cost.calibration import SHIPPED_SOURCE
from cell_train.planning.plan import Plan, StagePlan
from cell_train.planning.rationale import Change

COLUMNS = (
    *("stage", "wanted", "granted", "kept", "prec", "batch", "seg"),
    *("peak", "", "seen", "time", "disk", "fits"),
)
REASON_OF = {  # the reason that a changed key has already told
    "lattice.dimensions": "dimensions",
    "lattice.connection_density": "connection_density",
    "optimization.mixed_precision.enabled": "precision",
    "samples_per_epoch": "samples",
}


def print_plan(plan: Plan, stream: TextIO = sys.stdout, notes: Sequence[str] = ()) -> None:
    """The plan as a table; below it `notes`, what was changed, and why it is as it is.

    Long lines are wrapped on a terminal alone.
    """
    below = [_total(plan), *notes, *_warnings(plan), *_changes(plan), *_reasons(plan)]
    lines = [*_folded(_budget(plan), stream), *_table(plan), *_folded(below, stream)]
    print("\n".join(lines), file=stream)


def _folded(lines: list[str], stream: TextIO) -> list[str]:
    if not stream.isatty():
        return lines
    wrap = textwrap.TextWrapper(
        shutil.get_terminal_size().columns,
        subsequent_indent=" " * 6,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [part for line in lines for part in wrap.wrap(line)]


def _budget(plan: Plan) -> list[str]:
    budget, room = plan.budget, plan.terms.room
    free = f", {gib(budget.free_bytes)} free of {gib(budget.total_bytes)}"
    context = f", {gib(CUDA_CONTEXT)} for CUDA itself" if budget.kind == "cuda" else ""
    return [
        f"profile {plan.profile}: {budget.source}{free if budget.total_bytes else ''}",
        f"{gib(room)} to train in, {gib(budget.usable_bytes - room)} kept spare{context}",
    ]


def _table(plan: Plan) -> list[str]:
    rows = [COLUMNS, *(_cells(stage, plan.terms.room) for stage in plan.stages)]
    if all(stage.measured_peak_bytes is None for stage in plan.stages):
        seen = COLUMNS.index("seen")
        rows = [(*row[:seen], *row[seen + 1 :]) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        " ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows
    ]


def _total(plan: Plan) -> str:
    total = sum(stage.seconds for stage in plan.stages)
    said = f"about {duration(total)} in all, by {plan.calibration}"
    if not plan.calibration.startswith(SHIPPED_SOURCE):
        return said
    return f"{said}; {invocation.command('calibrate')} measures this machine's"


def _cells(plan: StagePlan, room: int) -> tuple[str, ...]:
    stage, execution = plan.stage, plan.execution
    return (
        str(stage.stage),
        shape(plan.requested_dimensions),
        shape(stage.lattice.dimensions),
        f"{stage.lattice.connection_density:g}",
        execution.precision,
        f"{execution.micro_batch}×{execution.accumulation}",
        str(execution.segment),
        gib(plan.footprint.total),
        f"{min(plan.footprint.total / room, 9.99):.0%}" if room else "-",
        gib(plan.measured_peak_bytes) if plan.measured_peak_bytes else "-",
        duration(plan.seconds),
        gib(plan.disk_bytes),
        "yes" if plan.fits else "NO",
    )


def _warnings(plan: Plan) -> list[str]:
    found: dict[str, list[int]] = {}
    for stage in plan.stages:
        for warning in stage.warnings:
            found.setdefault(warning, []).append(stage.number)
    return [f"warning: {_stages(stages, plan)}: {said}" for said, stages in found.items()]


def _changes(plan: Plan) -> list[str]:
    """Each key that is not as its stage asks; the dimensions stand in the table."""
    found: dict[tuple[str, str], list[int]] = {}
    for stage in plan.stages:
        for change in stage.changes:
            key = change.key, _said(change, stage)
            found.setdefault(key, []).append(stage.number)
    lines = [f"  {_stages(stages, plan)}: {key} {said}" for (key, said), stages in found.items()]
    return ["changed, from what the stage asks:", *lines] if lines else []


def _said(change: Change, stage: StagePlan) -> str:
    if change.key == "lattice.dimensions":
        return f"as in the table ({change.by})"
    now = _value(change.now)
    if change.key == "micro_batch":
        now += f", {stage.execution.accumulation} times a step"
    return f"{_value(change.before)} → {now} ({change.by})"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _reasons(plan: Plan) -> list[str]:
    """Why each stage got what it got, where no change has told it."""
    found: dict[tuple[str, str], list[int]] = {}
    order = list(plan.stages[0].reasons)
    for stage in plan.stages:
        told = {REASON_OF.get(change.key, "") for change in stage.changes}
        for what, why in stage.reasons.items():
            if what not in told and not why.startswith("as asked") and what != "samples":
                found.setdefault((what, why), []).append(stage.number)
    lines = [
        f"  {_stages(stages, plan)}: {what.replace('_', ' ')}: {why}"
        for (what, why), stages in sorted(found.items(), key=lambda item: order.index(item[0][0]))
    ]
    return ["why:", *lines] if lines else []


def _stages(numbers: Iterable[int], plan: Plan) -> str:
    """all stages, or stages 1-3, 5."""
    chosen = sorted(numbers)
    if len(chosen) == len(plan.stages) > 1:
        return "all stages"
    runs = []
    for _, group in groupby(enumerate(chosen), key=lambda pair: pair[1] - pair[0]):
        run = [number for _, number in group]
        runs.append(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}")
    return f"stage{'s' if len(chosen) > 1 else ''} {', '.join(runs)}"
