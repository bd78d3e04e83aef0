"""What a command prints at its end: tables for people on stdout, or JSON for programs."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from cell_train import invocation, streams
from cell_train.console.event_text import metrics_text
from cell_train.formatting import gib, printable, si


def print_summary(summary: Mapping[str, Any], stream: TextIO = sys.stdout) -> None:
    """The summary as a table and the folder it lies in."""
    from rich.console import Console

    from cell_train.console.live import stage_table

    console = Console(file=stream)
    table = stage_table(
        printable(summary["stages"]), console.width if console.is_terminal else None
    )
    console.print(table)
    for row in [row for row in summary["stages"] if row["status"] == "completed"][-1:]:
        print(printable(f"stage {row['stage']}: {metrics_text(row)}"), file=stream)
        if row["verdict"]:
            print(printable(row["verdict"]), file=stream)
    for row in summary["stages"]:
        for line in _remarks(row):
            print(printable(f"stage {row['stage']} {line}"), file=stream)
    print(printable(f"{summary['status']}: {summary['run_dir']}"), file=stream)
    if summary["status"] == "completed":
        name = Path(summary["run_dir"]).name
        words = ("ask", name, "..."), ("report", name, "--open")
        print(f"Next: {' or '.join(invocation.command(*one) for one in words)}", file=stream)


def _remarks(row: Mapping[str, Any]) -> Iterator[str]:
    """What a stage's line of the table does not say."""
    if row["thinned"] and row["status"] == "completed":
        yield f"saw {row['thinned']['samples']} of {row['thinned']['of']} samples (thinned)"
    for change in row["retries"]:
        yield f"ran out of memory and went on with {change}"
    if row["restarts"]:
        yield "fell silent and was resumed (see its worker.log)"
    for change in row["inexact"]:
        yield f"is not bit for bit that of a run never interrupted: {change}"
    if row["rollbacks"]:
        yield f"was rolled back {row['rollbacks']} times"


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


def print_json(record: Mapping[str, Any]) -> None:
    """One JSON object as one line."""
    sys.stdout.write(streams.as_json(record, sys.stdout.encoding) + "\n")
    sys.stdout.flush()
