"""summary.json: one row a stage, the same keys whatever became of it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from cell_train import run_files
from cell_train.run_files import RunFiles

Row = dict[str, Any]

MEASURED = (  # the worker's stage_end; null until a stage is complete
    "samples",
    "seconds",
    "peak_bytes",
    "loss",
    "primary",
    "metrics",
    "clusters",
    "clusterings",
    "mean_abs_change",
    "checkpoint",
)


def planned_row(stage: Mapping[str, Any]) -> Row:
    """The row of a stage that has not run, from its part of plan.json."""
    planned = ("stage", "dimensions", "connection_density", "plasticity_profile", "epochs")
    row: Row = {"status": "pending", **{key: stage[key] for key in planned}}
    row |= dict.fromkeys(MEASURED)
    row["predicted_peak_bytes"] = stage["predicted_peak_bytes"]
    row["thinned"] = stage["thinned"]
    row["retries"] = []
    return row


def completed_row(row: Row, result: Mapping[str, Any]) -> Row:
    """The row of a completed stage: what was planned, overlaid with what the worker reports."""
    reported = {key: value for key, value in result.items() if key not in ("event", "time")}
    return {**row, **reported, "stage": row["stage"], "status": "completed"}


def record(
    files: RunFiles, status: str, rows: Sequence[Row], error: str | None = None
) -> dict[str, Any]:
    """The summary as data."""
    return {
        "schema": 1,
        "status": status,
        "run_dir": str(files.folder),
        "stages": list(rows),
        "error": error,
    }


def save(files: RunFiles, summary: Mapping[str, Any]) -> None:
    run_files.write_text(files.summary, json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
