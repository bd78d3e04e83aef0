"""Run folders: made, locked, found again."""

import contextlib
import fcntl
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from cell_train import run_files
from cell_train.config import resolve
from cell_train.config.stage_file import StageFile
from cell_train.errors import ConfigError
from cell_train.planning import plan as planning
from cell_train.planning.plan import Plan
from cell_train.run import began
from cell_train.run_files import RunFiles

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def prepare(
    plan: Plan,
    parent: Path,
    name: str,
    *,
    start_from: Path | None = None,
    require: Sequence[str] = (),
    written: Mapping[int, StageFile] | None = None,
    now: datetime | None = None,
) -> RunFiles:
    """A new run folder with all a run needs: plan.json and each stage's resolved.yaml.

    `written` are the stage files the plan was made from, by number.

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
            began.note(stage_files, stage.stage, (written or {}).get(stage.stage.stage))
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
    """running, completed, failed or interrupted, as also a run whose process is gone."""
    if running(files):
        return "running"
    said = (run_files.read_json(files.summary) or {}).get("status")
    return said if said in ("completed", "failed") else "interrupted"


def read_plan(files: RunFiles) -> dict[str, Any]:
    """plan.json, which may come from a stranger. Raises ConfigError naming what is wrong in it."""
    plan = run_files.read_json(files.plan)
    if plan is None:
        raise ConfigError(
            f"{files.plan}: is damaged or no plan; start a new run (its checkpoints can be given"
            " to celltrain run --from)."
        )
    wrong = [f"{key} is {_short(plan.get(key))}" for key, fits in PLAN.items() if not fits(plan)]
    for index, stage in enumerate(plan["stages"] if not wrong else ()):
        wrong += [
            f"stages[{index}].{key} is {_short(stage.get(key))}"
            for key, fits in STAGE.items()
            if not fits(stage.get(key))
        ]
    if wrong:
        raise ConfigError(f"{files.plan}: {wrong[0]}, which no plan says; start a new run.")
    return plan


def check_plain(files: RunFiles) -> None:
    """Raise ConfigError where a run folder leads out of itself through a link."""
    for where, folders, names in os.walk(files.folder):
        for name in (*folders, *names):
            path = Path(where, name)
            if path.is_symlink():
                raise ConfigError(f"{path}: is a link; a run folder holds plain files. Remove it.")


def _short(value: Any) -> str:
    return "missing" if value is None else repr(value)[:60]


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 62


def _cells(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(map(_count, value))


def _thinned(value: Any) -> bool:
    if value is None:
        return True
    return isinstance(value, dict) and _count(value.get("samples")) and _count(value.get("of"))


def _numbers_differ(stages: list[Any]) -> bool:
    numbers = [stage.get("stage") for stage in stages if isinstance(stage, dict)]
    return len(numbers) == len(stages) > 0 and len({*map(str, numbers)}) == len(numbers)


PLAN: dict[str, Callable[[dict[str, Any]], bool]] = {
    "stages": lambda p: isinstance(p.get("stages"), list) and _numbers_differ(p["stages"]),
    "from": lambda p: p.get("from") is None or _text(p["from"]),
    "require": lambda p: isinstance(p.get("require"), list) and all(map(_text, p["require"])),
}
STAGE: dict[str, Callable[[Any], bool]] = {  # what the runner and the display read of a stage
    "stage": lambda value: _count(value) and 1 <= value <= 10**6,
    "description": _text,
    "dimensions": _cells,
    "plasticity_profile": _text,
    "connection_density": lambda value: type(value) in (int, float) and 0 <= value <= 1,
    "epochs": _count,
    "predicted_peak_bytes": _count,
    "budget_bytes": _count,
    "thinned": _thinned,
}
