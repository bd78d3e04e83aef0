"""summary.json: one row a stage, the same keys whatever became of it."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cell_train.run_folder import folder, locks
from cell_train.run_folder.paths import RunFiles, StageFiles
from cell_train.storage import is_whole, read_json, write_text

Row = dict[str, Any]

MEASURED = (  # the worker's stage_end; null until a stage is complete, but for its last scores
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
    "best_checkpoint",
    "rollbacks",
)


def planned_row(stage: Mapping[str, Any]) -> Row:
    """The row of a stage that has not run, from its part of plan.json."""
    planned = ("stage", "dimensions", "connection_density", "plasticity_profile", "epochs")
    row: Row = {"status": "pending", **{key: stage[key] for key in planned}}
    row |= dict.fromkeys(MEASURED)
    row["predicted_peak_bytes"] = stage["predicted_peak_bytes"]
    row["thinned"] = stage["thinned"]
    row["retries"] = []  # what was made smaller each time memory ran out
    row["restarts"] = 0  # after silence
    row["inexact"] = []  # what was computed otherwise after an interruption than before
    row["verdict"] = None  # a complete stage's score, in sentences
    return row


def completed_row(row: Row, result: Mapping[str, Any]) -> Row:
    """The row of a completed stage: what was planned, overlaid with what the worker reports."""
    reported = {key: value for key, value in result.items() if key not in ("event", "time")}
    return {**row, **reported, "stage": row["stage"], "status": "completed"}


def read_result(stage: StageFiles, row: Row) -> Row | None:
    """The row of a complete stage from result.json; None where that or its checkpoint is damaged.

    The file may come from a stranger, and its folder may have been moved: of the checkpoint's
    path only the name counts.
    """
    done = read_json(stage.result)
    if done is None or not all(fits(done.get(key)) for key, fits in RESULT.items()):
        return None
    path = stage.checkpoints / Path(done["checkpoint"]).name
    if not is_whole(path):
        return None
    known = {key: done[key] for key in row if key in done}
    return {**row, **known, "stage": row["stage"], "status": "completed", "checkpoint": str(path)}


def _number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _number_or_none(value: Any) -> bool:
    return value is None or _number(value)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(v, str) for v in value)


RESULT: dict[str, Callable[[Any], bool]] = {  # what is read of it, and told
    "checkpoint": lambda value: isinstance(value, str) and bool(Path(value).name),
    "seconds": _number,
    "peak_bytes": _number_or_none,
    "clusters": _number_or_none,
    "loss": _number_or_none,
    "mean_abs_change": _number_or_none,
    "primary": lambda value: value is None or isinstance(value, str),
    "metrics": lambda value: (
        isinstance(value, dict) and all(_number_or_none(v) for v in value.values())
    ),
    "retries": _texts,
}
STATUSES = ("pending", "running", "completed", "failed", "interrupted")
ROW: dict[str, Callable[[Any], bool]] = RESULT | {  # the same of a row of summary.json
    "status": lambda value: value in STATUSES,
    "samples": _number,
    "clusterings": _number,
    "restarts": _number,
    "rollbacks": _number,
    "inexact": _texts,
    "verdict": lambda value: value is None or isinstance(value, str),
}


def record(
    files: RunFiles,
    status: str,
    rows: Sequence[Row],
    exit_code: int | None = None,
    error: str | None = None,
) -> dict[str, Any]:
    """The summary as data; `exit_code` is null while the run goes on."""
    return {
        "schema": 1,
        "status": status,
        "exit_code": exit_code,
        "run_dir": str(files.folder),
        "stages": list(rows),
        "error": error,
    }


def carry_on(row: Row, before: Row) -> None:
    """Give a stage that is taken up again what is known of it: an interruption forgets nothing."""
    row |= {key: before[key] for key in ("retries", "restarts", "inexact", "metrics", "primary")}


def read(files: RunFiles, plan: Mapping[str, Any]) -> dict[str, Any]:
    """summary.json as it should be, with the stages of plan.json, where the run folder is now.

    It may come from a stranger, or not be there yet: what is missing or of another kind is as in
    the plan (pending, null). What ran when its process was lost is interrupted.
    """
    said, status = read_json(files.summary) or {}, folder.status(files)
    stages = rows(files, [planned_row(stage) for stage in plan["stages"]])
    for row in stages:
        if row["status"] == "running" != status:
            row["status"] = "interrupted"
    code, error = said.get("exit_code"), said.get("error")
    return record(
        files,
        status,
        stages,
        code if type(code) is int and 0 <= code < 256 else None,
        error if isinstance(error, str) else None,
    )


def take_leave(files: RunFiles) -> None:
    """Write what a runner that was killed could not: that nothing runs any more.

    For the worker it leaves behind. Nothing is written where another runner has taken over.
    Raises OSError as the file system does.
    """
    lock = locks.take(files.lock)
    if lock is None:
        return
    try:
        said = read_json(files.summary) or {}
        if said.get("status") == "running":
            for row in (said, *said["stages"]):
                row["status"] = "interrupted" if row["status"] == "running" else row["status"]
            write_text(files.summary, text(said))
    finally:
        lock.close()


def rows(files: RunFiles, planned: Sequence[Row]) -> list[Row]:
    """Rows as summary.json has them over those `planned`; what does not fit is left out."""
    told = (read_json(files.summary) or {}).get("stages")
    of = [row for row in (told if isinstance(told, list) else ()) if isinstance(row, dict)]
    found = {row["stage"]: row for row in of if type(row.get("stage")) is int}

    def known(row: Row) -> Row:
        by_run = found.get(row["stage"], {})
        return row | {k: by_run[k] for k, fits in ROW.items() if k in by_run and fits(by_run[k])}

    return [known(row) for row in planned]


def text(summary: Mapping[str, Any]) -> str:
    return json.dumps(summary, indent=1, ensure_ascii=False) + "\n"
