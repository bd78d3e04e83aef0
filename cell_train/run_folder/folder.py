"""Run folders: made, locked, found again."""

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from cell_train import invocation, storage
from cell_train.config import resolve
from cell_train.config.schema import ResolvedStage
from cell_train.errors import ConfigError
from cell_train.planning import plan_file
from cell_train.planning.plan_file import Record
from cell_train.run_folder import inputs
from cell_train.run_folder.paths import RunFiles

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def prepare(
    plan: Record,
    stages: Sequence[ResolvedStage],
    parent: Path,
    name: str,
    *,
    now: datetime | None = None,
) -> RunFiles:
    """A new run folder with all a run needs: plan.json and each stage's resolved.yaml.

    Raises ConfigError when the name is none or the folder cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"--name {name!r}: use up to 64 of A-Z a-z 0-9 . _ - and begin with none of . _ -"
        )
    try:
        files = RunFiles(_make(parent.absolute(), name, now or datetime.now(UTC)))
        for one, resolved in zip(plan["stages"], stages, strict=True):
            stage_files = files.stage(one["stage"])
            stage_files.folder.mkdir()
            storage.write_text(stage_files.resolved, resolve.write(resolved))
            inputs.note(stage_files, resolved.stage, one.get("file"))
        storage.write_text(files.plan, plan_file.text(plan))
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
    try:
        lock = files.lock.open("a+")
    except OSError as error:
        raise ConfigError(
            f"{files.folder}: cannot be run in ({error.strerror}); it must be writable."
        ) from None
    with lock:
        if not _taken(lock):
            lock.seek(0)
            holder = lock.read(20).strip() or "unknown"
            raise ConfigError(
                f"{files.folder}: is being run by process {holder}; wait for it or stop it first."
            )
        with contextlib.suppress(OSError):  # on a full disk the lock holds, and tells nobody
            os.truncate(lock.fileno(), 0)
            os.write(lock.fileno(), f"{os.getpid()}\n".encode())
        yield


def _taken(lock: TextIO) -> bool:
    """Whether the lock is ours now. A look by `running` holds it too, but only for a moment."""
    for pause in (0.0, 0.02, 0.2):
        time.sleep(pause)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    return False


def running(files: RunFiles) -> bool:
    """Whether a process runs this folder now, or a worker that it left behind."""
    return any(_held(lock) for lock in (files.lock, *files.folder.glob("stage-*/.lock")))


def _held(lock: Path) -> bool:
    try:
        with lock.open() as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # there is none: nothing has run here yet
        pass
    return False


def find(run: str | None, parent: Path) -> RunFiles:
    """The run of this path, folder name or `--name` (the newest), or the newest unfinished one.

    Raises ConfigError when there is none.
    """
    if run is None:
        unfinished = (files for files in all_runs(parent) if status(files) != "completed")
        newest = next(unfinished, None)
        if newest is None:
            start = invocation.command("run")
            raise ConfigError(f"{parent}: holds no unfinished run; start one with {start}.")
        return newest
    for folder in (Path(run), parent / run):
        if RunFiles(folder).plan.is_file():
            return RunFiles(folder.absolute())
    for files in named(run, parent):
        return files
    raise ConfigError(
        f"{run}: is no run folder (it holds no plan.json), nor the name of a run in {parent};"
        f" {invocation.command('ls')} lists them."
    )


def named(name: str, parent: Path) -> list[RunFiles]:
    """Runs of a folder that were begun with this `--name`, newest first."""
    return [run for run in all_runs(parent) if run.folder.name.partition("-")[2] == name]


def all_runs(parent: Path) -> list[RunFiles]:
    """Runs of a folder, newest first: plan.json is written once, when a run begins."""
    runs = [RunFiles(folder.absolute()) for folder in parent.glob("*/")]
    planned = [files for files in runs if files.plan.is_file()]
    return sorted(planned, key=lambda files: files.plan.stat().st_mtime_ns, reverse=True)


def is_done(plan: Record, parent: Path) -> bool:
    """Whether the newest run of `parent` that did the work of this plan completed it."""
    wanted = plan_file.work(plan)
    for files in all_runs(parent):
        held = storage.read_json(files.plan) or {}
        if plan_file.work(held) == wanted:
            return status(files) == "completed"
    return False


def status(files: RunFiles) -> str:
    """running, completed, failed or interrupted, as also a run whose process is gone."""
    if running(files):
        return "running"
    said = (storage.read_json(files.summary) or {}).get("status")
    return said if said in ("completed", "failed") else "interrupted"


def read_plan(files: RunFiles) -> Record:
    """plan.json, which may come from a stranger. Raises ConfigError naming what is wrong in it."""
    return plan_file.read(files.plan)


def check_plain(files: RunFiles) -> None:
    """Raise ConfigError where a run folder leads out of itself through a link."""
    for where, folders, names in os.walk(files.folder):
        for name in (*folders, *names):
            path = Path(where, name)
            if path.is_symlink():
                raise ConfigError(f"{path}: is a link; a run folder holds plain files. Remove it.")
