"""Run folders: made, locked, found again."""

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cell_train import run_files
from cell_train.config import resolve
from cell_train.errors import ConfigError
from cell_train.planning import plan as planning
from cell_train.planning.plan import Plan
from cell_train.run_files import RunFiles

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def prepare(
    plan: Plan,
    parent: Path,
    name: str,
    *,
    start_from: Path | None = None,
    require: Sequence[str] = (),
    now: datetime | None = None,
) -> RunFiles:
    """A new run folder with all a run needs: plan.json and each stage's resolved.yaml.

    Raises ConfigError when the name is none or the folder cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"--name {name!r}: use up to 64 of A-Z a-z 0-9 . _ - and begin with none of . _ -"
        )
    record = planning.as_json(plan)
    record["from"] = str(start_from) if start_from else None
    record["require"] = list(require)
    try:
        files = RunFiles(_make(parent.absolute(), name, now or datetime.now(UTC)))
        for stage in plan.stages:
            stage_files = files.stage(stage.stage.stage)
            stage_files.folder.mkdir()
            resolved = planning.resolved_stage(stage)
            run_files.write_text(stage_files.resolved, resolve.write(resolved))
        run_files.write_text(files.plan, json.dumps(record, indent=1) + "\n")
    except OSError as error:
        raise ConfigError(
            f"{error.filename or parent}: the run folder cannot be written ({error.strerror});"
            " give another with --output DIR."
        ) from None
    return files


def _make(parent: Path, name: str, now: datetime) -> Path:
    """A folder nobody has used, also when two runs start within one second."""
    parent.mkdir(parents=True, exist_ok=True)
    stem = f"{now:%Y%m%dT%H%M%SZ}-{name}"
    attempt = 1
    while True:
        folder = parent / (stem if attempt == 1 else f"{stem}-{attempt}")
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            attempt += 1


@contextlib.contextmanager
def locked(files: RunFiles) -> Iterator[None]:
    """Hold a run folder alone. The lock goes with the process, however it ends.

    Raises ConfigError while another process holds it.
    """
    with files.lock.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise ConfigError(
                f"{files.folder}: is being run by process {holder}; wait for it or stop it first."
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def find(run: str | None, parent: Path) -> RunFiles:
    """The run of this path or name, or the newest unfinished one of `parent`.

    Raises ConfigError when there is none.
    """
    if run is None:
        unfinished = (files for files in all_runs(parent) if status(files) != "completed")
        newest = next(unfinished, None)
        if newest is None:
            raise ConfigError(f"{parent}: holds no unfinished run; start one with celltrain run.")
        return newest
    for folder in (Path(run), parent / run):
        if RunFiles(folder).plan.is_file():
            return RunFiles(folder.absolute())
    raise ConfigError(f"{run}: is no run folder (it holds no plan.json).")


def all_runs(parent: Path) -> list[RunFiles]:
    """Runs of a folder, newest first: plan.json is written once, when a run begins."""
    runs = [RunFiles(folder.absolute()) for folder in parent.glob("*/")]
    planned = [files for files in runs if files.plan.is_file()]
    return sorted(planned, key=lambda files: files.plan.stat().st_mtime_ns, reverse=True)


def status(files: RunFiles) -> str:
    """completed, failed or interrupted; `running` also for a run whose process is gone."""
    summary = read_json(files.summary)
    return str(summary["status"]) if summary and "status" in summary else "running"


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object of a run folder, or None when it is absent or damaged."""
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None
