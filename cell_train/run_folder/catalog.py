"""The runs of a folder: told in a line each, deleted."""

import contextlib
import errno
import json
import os
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cell_train.errors import ConfigError
from cell_train.run_folder import folder, identity, summary
from cell_train.run_folder.identity import Kind
from cell_train.run_folder.paths import RunFiles, StageFiles
from cell_train.storage import UNSUPPORTED, open_plain

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
    """A run that may be deleted: of one meaning, no link, not running.

    Raises ConfigError for anything else. A folder that a kill has left half made, or half deleted,
    may go too, by its own name.
    """
    if Path(run).name in ("", ".", ".."):
        raise ConfigError(f"{run}: is no run folder's own name; rm takes that, or a run's --name.")
    half = _half(run, parent)
    files = half or folder.find(run, parent)
    if len(folder.named(run, parent)) > 1:
        raise ConfigError(f"{run}: several runs have this name; give the folder of one.")
    other = Path(run)
    with contextlib.suppress(OSError):  # it is not there, or nobody may know
        if not other.samefile(files.folder):
            raise ConfigError(
                f"{run}: two things have this name, {other.absolute()} and the run {files.folder};"
                " give the run's folder."
            )
    if files.folder.is_symlink():
        raise ConfigError(f"{files.folder}: is a link; give the run folder itself.")
    if folder.running(files):
        raise ConfigError(f"{files.folder}: is running; stop it first.")
    return files


def _half(run: str, parent: Path) -> RunFiles | None:
    """A folder that is half a run, named in full or as it lies in `parent`."""
    for path in (Path(run), parent / run):
        with contextlib.suppress(OSError):
            if identity.look(path)[0] is Kind.UNBORN:
                return RunFiles(path.absolute())
    return None


def foreign(files: RunFiles) -> list[str]:
    """What lies in a run folder and is not of the run."""
    own = {path.name for path in (files.marker, files.plan, files.environment, files.events)}
    own |= {path.name for path in (files.summary, files.lock, files.crash, files.report)}
    own |= {"controls"}
    found = sorted(entry.name for entry in files.folder.iterdir())
    return [
        name
        for name in found
        if name not in own and not name.startswith("stage-") and not name.endswith(".tmp")
    ]


def delete(files: RunFiles) -> None:
    """Delete a run folder; links in it go, what they lead to stays.

    It is moved aside first, under a name that begins with .removed-, and its marker goes last, so
    that what an interruption leaves is known for what it is. Raises ConfigError where another
    process has begun to run it, or the file system refuses.
    """
    try:
        if files.lock.is_symlink() or (files.lock.exists() and not files.lock.is_file()):
            files.lock.unlink()  # no lock of ours
        with folder.locked(files):
            if not files.marker.exists():
                identity.mark(files, files.folder.name, datetime.now(UTC))
            aside = RunFiles(_aside(files.folder))
            for entry in aside.folder.iterdir():
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                elif entry not in (aside.marker, aside.lock):
                    entry.unlink()
            aside.lock.unlink(missing_ok=True)
            aside.marker.unlink()
            aside.folder.rmdir()
    except OSError as error:
        raise ConfigError(
            f"{error.filename or files.folder}: cannot be deleted ({error.strerror})."
        ) from None


def _aside(run: Path) -> Path:
    """Where a folder lies once it is moved aside: where it was, if it is a mount of its own."""
    if run.name.startswith(identity.ASIDE):
        return run
    aside = run.with_name(f"{identity.ASIDE}{os.getpid()}-{run.name[:100]}")
    try:
        return run.rename(aside)
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.EXDEV, *UNSUPPORTED):
            raise
        return run


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
        with open_plain(stage.metrics) as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - RECENT))
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
