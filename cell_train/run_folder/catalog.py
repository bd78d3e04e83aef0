"""The runs of a folder: told in a line each, deleted."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cell_train.errors import ConfigError
from cell_train.run_folder import folder, summary
from cell_train.run_folder.paths import RunFiles, StageFiles

EVENT = ("event", "time", "stage", "epoch", "step")  # what an evaluation holds beside metrics
RECENT = 1 << 20  # bytes of the end of metrics.jsonl that are looked through


def overview(files: RunFiles) -> dict[str, Any]:
    """A run as `celltrain ls` tells it. Raises ConfigError where its plan.json is damaged."""
    said = summary.read(files, folder.read_plan(files))
    begun = [row for row in said["stages"] if row["status"] != "pending"]
    scores = [score for row in begun if (score := _score(files, row)) is not None]
    best = max(scores, key=lambda score: score[1], default=(None, None))
    return {
        "run": files.folder.name,
        "run_dir": str(files.folder),
        "status": said["status"],
        "stage": begun[-1]["stage"] if begun else None,
        "stages": [row["stage"] for row in said["stages"]],
        "metric": best[0],
        "best": best[1],
        "bytes": size(files.folder),
        "age_seconds": round(time.time() - files.plan.stat().st_mtime),
    }


def size(path: Path) -> int:
    """Bytes of all files below a folder; links count for themselves."""
    total = 0
    for where, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(where, name)).st_size
            except OSError:  # a run at work replaces its checkpoints
                continue
    return total


def find(run: str, parent: Path) -> RunFiles:
    """A run that may be deleted. Raises ConfigError unless it is one, no link, and not running."""
    files = folder.find(run, parent)
    if len(folder.named(run, parent)) > 1:
        raise ConfigError(f"{run}: several runs have this name; give the folder of one.")
    if files.folder.is_symlink():
        raise ConfigError(f"{files.folder}: is a link; give the run folder itself.")
    try:
        folder.read_plan(files)
    except ConfigError:  # a file of that name may be anybody's
        raise ConfigError(
            f"{files.folder}: its plan.json is no plan of celltrain's; if it is a run all the same,"
            " delete it by hand."
        ) from None
    if folder.running(files):
        raise ConfigError(f"{files.folder}: is running; stop it first.")
    return files


def delete(files: RunFiles) -> None:
    """Delete a run folder; links in it go, what they lead to stays.

    plan.json goes last, so that what an interruption leaves is still a run folder. Raises
    ConfigError where another process has begun to run it, or the file system refuses.
    """
    with folder.locked(files):
        try:
            for entry in files.folder.iterdir():
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                elif entry not in (files.plan, files.lock):
                    entry.unlink()
            shutil.rmtree(files.folder)
        except OSError as error:
            raise ConfigError(
                f"{error.filename or files.folder}: cannot be deleted ({error.strerror})."
            ) from None


def _score(files: RunFiles, row: summary.Row) -> tuple[str, float] | None:
    """(name, value) of a stage's primary metric: its result, or else its latest evaluation."""
    metrics, name = row["metrics"], row["primary"]
    if not metrics:
        metrics = next(_evaluations(files.stage(row["stage"])), {})
        name = next(iter(metrics), None)  # an evaluation begins with it
    value = metrics.get(name)
    return (name, value) if type(value) in (int, float) else None


def _evaluations(stage: StageFiles) -> Iterator[dict[str, Any]]:
    """Metrics of the stage's evaluations, latest first."""
    try:
        with stage.metrics.open("rb") as stream:
            stream.seek(max(0, stage.metrics.stat().st_size - RECENT))
            lines = stream.read(RECENT).splitlines()
    except OSError:
        return
    for line in reversed(lines):
        if b'"evaluation"' not in line:
            continue
        try:
            event = json.loads(line)
        except ValueError:  # cut off where a process was killed
            continue
        if isinstance(event, dict) and event.get("event") == "evaluation":
            yield {k: v for k, v in event.items() if k not in EVENT}
