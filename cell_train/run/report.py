"""What a command prints at its end: tables for people on stdout, or JSON for programs."""

import json
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from cell_train.run.progress import gib, metrics_text, si


def print_summary(summary: Mapping[str, Any], stream: TextIO = sys.stdout) -> None:
    """The summary as a table and the folder it lies in."""
    from rich.console import Console
    from rich.text import Text

    from cell_train.run.display import stage_table

    console = Console(file=stream)
    console.print(stage_table(summary["stages"]))
    completed = [row for row in summary["stages"] if row["status"] == "completed"]
    for row in completed[-1:]:
        console.print(Text(f"stage {row['stage']}: {metrics_text(row)}"), soft_wrap=True)
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


def print_calibration(found: Mapping[str, Any], stream: TextIO = sys.stdout) -> None:
    """What was measured of a machine, and where it is kept."""
    rates = found["rates"]
    lines = (
        f"{found['device']}, torch {found['torch']}",
        f"a worker takes {gib(found['base_bytes'])} beside its tensors,"
        f" and {found['allocator']:.1%} of their size between them",
        f"it computes {si(rates['flops_per_second'])}flop/s in training;"
        f" each forward pass adds {1000 * rates['step_overhead_s']:.0f} ms",
        f"kept in {found['file']}; plan and run count with it from now on",
    )
    print("\n".join(lines), file=stream)


def print_json(record: Mapping[str, Any], stream: TextIO = sys.stdout) -> None:
    """One JSON object as one line."""
    print(json.dumps(record, ensure_ascii=False), file=stream, flush=True)
