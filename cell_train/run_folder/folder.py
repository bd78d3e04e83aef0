"""Run folders: made, locked, found again."""

import contextlib
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from cell_train import invocation, storage
from cell_train.config import resolve
from cell_train.config.schema import ResolvedStage
from cell_train.errors import ConfigError, NotSaved
from cell_train.planning import plan_file
from cell_train.planning.plan_file import Record
from cell_train.run_folder import identity, inputs, locks
from cell_train.run_folder.identity import Kind, Note
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
    now = now or datetime.now(UTC)
    try:
        files = RunFiles(_make(parent.absolute(), name, now))
        identity.mark(files, name, now)  # first: from now on it is a run
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
def locked(files: RunFiles) -> Iterator[Callable[[], None]]:
    """Hold a run folder alone. The lock goes with the process, however it ends.

    What it gives raises NotSaved once the folder is no longer where it was. Raises ConfigError
    while another process holds it.
    """
    try:
        lock = locks.take(files.lock)
        place = None if lock is None else os.open(files.folder, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(
            f"{error.filename or files.folder}: cannot be run in ({error.strerror}); it must be"
            " writable, and its .lock a plain file."
        ) from None
    if lock is None or place is None:
        raise ConfigError(
            f"{files.folder}: is being run by process {locks.holder(files.lock)}; wait for it or"
            " stop it first."
        )
    locks.sign(lock)
    try:
        yield lambda: _check_place(files.folder, place)
    finally:
        os.close(place)
        lock.close()


def _check_place(folder: Path, place: int) -> None:
    own = os.fstat(place)
    with contextlib.suppress(OSError):
        if os.path.samestat(own, folder.stat()):
            return
    where = "; it is gone"
    with contextlib.suppress(OSError):
        now = Path(os.readlink(f"/proc/self/fd/{place}"))
        if os.path.samestat(own, now.stat()):
            where = f"; it is {now} now, resume it there"
    raise NotSaved(f"{folder}: was moved or deleted while the run went on{where}.")


def running(files: RunFiles) -> bool:
    """Whether a process runs this folder now, or a worker that it left behind."""
    with contextlib.suppress(OSError):
        return any(map(locks.held, (files.lock, *files.folder.glob("stage-*/.lock"))))
    return False


def find(run: str | None, parent: Path, note: Note = lambda _: None) -> RunFiles:
    """The run of this path, folder name or `--name` (the newest), or the newest unfinished one.

    What is passed over on the way is told to `note`. Raises ConfigError when there is none, and
    where a path and a name mean different runs.
    """
    if run is None:
        unfinished = (files for files in sound_runs(parent, note) if status(files) != "completed")
        newest = next(unfinished, None)
        if newest is None:
            start = invocation.command("run")
            raise ConfigError(f"{parent}: holds no unfinished run; start one with {start}.")
        return newest
    meant: dict[Path, RunFiles] = {}
    why = []
    for folder in (Path(run), parent / run):
        try:
            kind, reason = identity.look(folder)
        except (FileNotFoundError, NotADirectoryError, ValueError):
            continue
        except OSError as error:
            why.append(f"{folder} cannot be read: {error.strerror}")
            continue
        if kind is Kind.RUN:
            meant.setdefault(folder.resolve(), RunFiles(folder.absolute()))
        else:
            why.append(reason or kind.value)
    passed_over = (lambda _: None) if meant else note  # of no interest where a folder is named
    for files in named(run, parent, passed_over)[:1]:
        meant.setdefault(files.folder.resolve(), files)
    if len(meant) > 1:
        both = " and ".join(str(files.folder) for files in meant.values())
        raise ConfigError(f"{run}: two runs have this name, {both}; give the folder of one.")
    for files in meant.values():
        return files
    said = f" ({'; '.join(dict.fromkeys(why))})" if why else ""
    raise ConfigError(
        f"{run}: is no run folder{said}, nor the name of a run in {parent};"
        f" {invocation.command('ls')} lists them."
    )


def named(name: str, parent: Path, note: Note = lambda _: None) -> list[RunFiles]:
    """Sound runs of a folder that were begun with this `--name`, newest first."""
    return [run for run in sound_runs(parent, note) if identity.is_named(run, name)]


def all_runs(parent: Path, note: Note = lambda _: None) -> list[RunFiles]:
    """Runs of a folder, newest first: plan.json is written once, when a run begins."""
    runs = [RunFiles(folder) for kind, folder in _looked(parent, note) if kind is Kind.RUN]
    return sorted(runs, key=_begun, reverse=True)


def sound_runs(parent: Path, note: Note = lambda _: None) -> Iterator[RunFiles]:
    """The runs of a folder whose plan can be read, newest first."""
    for files in all_runs(parent, note):
        try:
            read_plan(files)
        except ConfigError as error:
            note(f"passed over: {error}")
            continue
        yield files


def unborn(parent: Path) -> list[RunFiles]:
    """Folders of runs that were killed while they were made, or while they were deleted."""
    return [
        RunFiles(folder) for kind, folder in _looked(parent, lambda _: None) if kind is Kind.UNBORN
    ]


def _looked(parent: Path, note: Note) -> Iterator[tuple[Kind, Path]]:
    """(what it is, folder) of each folder in `parent`; what cannot be told is told to `note`."""
    try:
        inside = sorted(parent.absolute().iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise ConfigError(f"{parent}: cannot be read ({error.strerror}).") from None
    for folder in inside:
        try:
            if not stat.S_ISDIR(folder.stat().st_mode):
                continue
            kind, why = identity.look(folder)
        except FileNotFoundError:  # a dangling link, or one deleted just now
            continue
        except OSError as error:
            note(f"passed over: {folder}: cannot be read ({error.strerror})")
            continue
        except ConfigError as error:
            note(f"passed over: {error}")
            continue
        if kind is Kind.FOREIGN and "holds no" not in why:  # a folder of anything is no news
            note(f"passed over: {folder}: {why}")
        yield kind, folder


def _begun(files: RunFiles) -> int:
    try:
        return files.plan.stat().st_mtime_ns
    except OSError:
        return 0


def is_done(plan: Record, parent: Path, note: Note = lambda _: None) -> bool:
    """Whether the newest run of `parent` that did the work of this plan completed it."""
    wanted = plan_file.work(plan)
    for files in sound_runs(parent, note):
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
    return plan_file.read(files.plan, follow=False)


def check_plain(files: RunFiles, pipes: bool = False) -> None:
    """Raise ConfigError where a run folder leads out of itself, or holds what is no plain file.

    With `pipes` those may be there: for who opens files by storage.open_plain alone.
    """

    def unreadable(error: OSError) -> None:
        raise ConfigError(f"{error.filename}: cannot be read ({error.strerror}).") from None

    for where, folders, names in os.walk(files.folder, onerror=unreadable):
        for name in (*folders, *names):
            path = Path(where, name)
            try:
                mode = path.lstat().st_mode
            except FileNotFoundError:  # a run at work replaces its files
                continue
            if stat.S_ISLNK(mode):
                raise ConfigError(f"{path}: is a link; a run folder holds plain files. Remove it.")
            if not (pipes or stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise ConfigError(f"{path}: is no plain file, as a run folder holds. Remove it.")


def tidy(files: RunFiles) -> None:
    """Make a locked folder ready to be written to.

    Temporary files of processes that were killed go, and a file that is to be appended to and has a
    second name somewhere (a backup by cp -al, a trap) gets a body of its own.
    """
    grown = [
        files.events,
        *files.folder.glob("stage-*/*.jsonl"),
        *files.folder.glob("stage-*/*.log"),
    ]
    for path in grown:
        with contextlib.suppress(FileNotFoundError):
            if path.lstat().st_nlink > 1:
                with storage.open_plain(path) as shared:
                    storage.write_atomically(path, partial(shutil.copyfileobj, shared))
    for old in temporary(files):
        with contextlib.suppress(OSError):
            old.unlink()


def temporary(files: RunFiles) -> list[Path]:
    """Temporary files in a run folder; where nothing runs, those of processes that were killed."""
    inside = (".*.tmp", "stage-*/.*.tmp", "stage-*/checkpoints/.*.tmp")
    with contextlib.suppress(OSError):
        return [path for pattern in inside for path in sorted(files.folder.glob(pattern))]
    return []
