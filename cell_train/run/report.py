"""What a command prints at its end: tables for people on stdout, or JSON for programs."""

import json
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from cell_train.planning.plan import Plan, StagePlan
from cell_train.run.progress import duration, gib, shape

COLUMNS = (
    *("stage", "wanted", "granted", "kept", "prec", "batch", "seg"),
    *("peak", "", "time", "disk", "fits"),
)


def print_plan(plan: Plan, stream: TextIO = sys.stdout) -> None:
    """The plan as a table, its reasons below."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=stream)
    budget = plan.budget
    line = f"{gib(budget.usable_bytes)} to train in ({budget.source}), profile {plan.profile}"
    console.print(Text(line), soft_wrap=True)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in COLUMNS:
        table.add_column(heading, justify="right", no_wrap=True)
    for stage in plan.stages:
        table.add_row(*_cells(stage))
    console.print(table)
    for text in _notes(plan):
        console.print(Text(text, "dim"), soft_wrap=True)
    for stage in plan.stages:
        for warning in stage.warnings:
            console.print(Text(f"warning: stage {stage.stage.stage}: {warning}"), soft_wrap=True)


def _cells(plan: StagePlan) -> list[str]:
    stage, execution = plan.stage, plan.execution
    return [
        str(stage.stage),
        shape(plan.requested_dimensions),
        shape(stage.lattice.dimensions),
        f"{stage.lattice.connection_density:g}",
        execution.precision,
        f"{execution.micro_batch}×{execution.accumulation}",
        str(execution.segment),
        gib(plan.footprint.total),
        _percent(plan),
        duration(plan.seconds),
        gib(plan.disk_bytes),
        "yes" if plan.fits else "NO",
    ]


def _percent(plan: StagePlan) -> str:
    """The peak's share of the budget."""
    budget = plan.execution.budget_bytes
    return f"{min(plan.footprint.total / budget, 9.99):.0%}" if budget else "-"


def _notes(plan: Plan) -> list[str]:
    """Why each stage got what it got; reasons that several stages share are said once."""
    grouped: dict[tuple[str, str], list[int]] = {}
    for stage in plan.stages:
        for what, why in stage.reasons.items():
            if what == "samples" and stage.thinned:
                why = f"{stage.thinned['samples']} of {stage.thinned['of']}: {why}"
            elif what == "samples" or why.startswith("as asked"):
                continue
            grouped.setdefault((what, why), []).append(stage.stage.stage)
    order = list(plan.stages[0].reasons) if plan.stages else []
    lines = []
    for (what, why), stages in sorted(grouped.items(), key=lambda item: order.index(item[0][0])):
        which = "all stages" if len(stages) == len(plan.stages) > 1 else f"stage {_ranges(stages)}"
        lines.append(f"  {what.replace('_', ' ')}, {which}: {why}")
    total = sum(stage.seconds for stage in plan.stages)
    return [*lines, f"  about {duration(total)} in all"]


def _ranges(numbers: list[int]) -> str:
    return ", ".join(str(number) for number in numbers)


def print_summary(summary: Mapping[str, Any], stream: TextIO = sys.stdout) -> None:
    """The summary as a table and the folder it lies in."""
    from rich.console import Console
    from rich.text import Text

    from cell_train.run.display import stage_table

    console = Console(file=stream)
    console.print(stage_table(summary["stages"]))
    for row in summary["stages"]:
        if row["thinned"] and row["status"] == "completed":
            used, of = row["thinned"]["samples"], row["thinned"]["of"]
            console.print(f"stage {row['stage']} saw {used} of {of} samples (thinned)")
        for change in row["retries"]:
            console.print(f"stage {row['stage']} ran out of memory and went on with {change}")
        if row["restarts"]:
            console.print(f"stage {row['stage']} fell silent and was resumed (see its worker.log)")
        if row["rollbacks"]:
            console.print(f"stage {row['stage']} was rolled back {row['rollbacks']} times")
    console.print(Text(f"{summary['status']}: {summary['run_dir']}"), soft_wrap=True)


def print_json(record: Mapping[str, Any], stream: TextIO = sys.stdout) -> None:
    """One JSON object as one line."""
    print(json.dumps(record, ensure_ascii=False), file=stream, flush=True)
