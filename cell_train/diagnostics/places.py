"""The places a run writes to and the limits it runs under, tried out before one needs them."""

import contextlib
import fcntl
import os
import resource
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cell_train import cache
from cell_train.storage import UNSUPPORTED

LOW_DISK = 2 << 30  # bytes; a night of checkpoints and logs
LOW_TEMPORARY = 64 << 20  # bytes; a compiler and the index of a large text
FEW_FILES = 128  # descriptors; torch opens some fifty
FEW_PROCESSES = 64  # of the user, threads included, beyond those that there are
Facts = dict[str, Any]


@dataclass(frozen=True)
class Problem:
    """What is wrong, what cures it, and whether no run can succeed before."""

    what: str
    cure: str
    prevents: bool


def look(output: Path) -> Facts:
    """The folder for runs, the cache, the temporary folder, and the limits of this process."""
    top = cache.location()
    kept = _folder(top) if top else {"path": "(none)", "writable": False, "free_bytes": 0}
    try:
        cache.room(make=top is not None and top.exists())
        why = kept.get("why")
    except OSError as error:
        why = None if isinstance(error, FileNotFoundError) and kept["writable"] else error.strerror
    return {
        "output": _folder(output),
        "cache": kept | {"why": why, "writable": why is None, "files": _files(top)},
        "temporary": _temporary(),
        "limits": _limits(),
    }


def problems(facts: Facts) -> Iterator[Problem]:
    """What is wrong with the places; `needs_disk_bytes` and `checkpoint_bytes` are a run's."""
    need = facts["needs_disk_bytes"] or 0
    yield from _of_runs(facts["output"], need)
    kept = facts["cache"]
    if not kept["writable"]:
        why = f" ({kept['why']})" if kept.get("why") else ""
        what = f"{kept['path']}: compiled steps cannot be kept there{why}"
        cure = "make it a writable folder of your own, or set XDG_CACHE_HOME to one"
        yield Problem(what, cure, False)
    temporary = facts["temporary"]
    if not temporary["writable"] or temporary["free_bytes"] < LOW_TEMPORARY:
        why = temporary.get("why") or f"{temporary['free_bytes'] >> 10} KiB free"
        what = f"{temporary['path']}: the temporary folder cannot be used ({why})"
        cure = "make room there, or set TMPDIR to a folder with room; runs do without one"
        yield Problem(what, cure, False)
    yield from _of_limits(facts["limits"], facts["checkpoint_bytes"] or 0)


def _of_runs(output: Facts, need: int) -> Iterator[Problem]:
    if not output["writable"]:
        cure = "give a folder you may write to with --output DIR"
        why = f" ({output['why']})" if output.get("why") else ""
        yield Problem(f"{output['path']}: run folders cannot be written there{why}", cure, True)
        return
    if output["free_bytes"] < max(need, LOW_DISK):
        what = f"{output['path']}: {output['free_bytes'] >> 20} MiB free"
        cure = f"make room (the built-in stages take {need >> 20} MiB), or use --output DIR"
        yield Problem(what, cure, output["free_bytes"] < need)
    for lack, prevents in output.get("lacks", {}).items():
        what = f"{output['path']}: its file system has no {lack}"
        yield Problem(what, "use --output DIR on another file system", prevents)


def _of_limits(limits: Facts, checkpoint: int) -> Iterator[Problem]:
    if limits["file_bytes"] is not None and limits["file_bytes"] < checkpoint:
        what = (
            f"files may grow to {limits['file_bytes'] >> 20} MiB here, a checkpoint takes"
            f" {checkpoint >> 20}"
        )
        yield Problem(what, "raise the limit (ulimit -f unlimited)", True)
    if limits["files"] is not None and limits["files"] < FEW_FILES:
        what = f"a process may hold {limits['files']} files open here"
        yield Problem(what, "raise the limit (ulimit -n 1024)", False)
    if limits["processes_left"] is not None and limits["processes_left"] < FEW_PROCESSES:
        what = f"this user may start {max(0, limits['processes_left'])} more processes or threads"
        yield Problem(what, "raise the limit (ulimit -u), or end some of them", False)


def _folder(path: Path) -> Facts:
    """Whether files can be made in a folder, or in the nearest above it that is there."""
    path = path.absolute()
    facts: Facts = {"path": str(path), "writable": False, "free_bytes": 0, "why": None}
    for there in (path, *path.parents):
        try:
            there.stat()
            facts["free_bytes"] = shutil.disk_usage(there).free
            with tempfile.TemporaryDirectory(prefix=".celltrain-", dir=there) as own:
                lacks = _lacks(Path(own))
            return facts | {"writable": True, "lacks": lacks}
        except FileNotFoundError:
            continue
        except OSError as error:
            return facts | {"why": error.strerror}
    return facts


def _lacks(own: Path) -> dict[str, bool]:
    """What the file system cannot do that a run asks of it, and whether no run does without."""
    lacks = {}
    first = own / "first"
    with first.open("wb") as stream:
        stream.write(b"x")
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lacks["locks (two runs in one folder on two machines would not be noticed)"] = False
    try:
        os.replace(first, own / "second")
    except OSError as error:
        lacks["renaming"] = error.errno in UNSUPPORTED
    return lacks


def _temporary() -> Facts:
    try:
        return _folder(Path(tempfile.gettempdir()))
    except OSError:  # none of those that Python tries can be written
        where = os.environ.get("TMPDIR", "/tmp, /var/tmp")
        why = "it is missing or cannot be written"
        return {"path": where, "writable": False, "free_bytes": 0, "why": why}


def _limits() -> Facts:
    """What this process may have at most; None: no limit."""

    def soft(which: int) -> int | None:
        limit = resource.getrlimit(which)[0]
        return None if limit == resource.RLIM_INFINITY else limit

    processes = soft(resource.RLIMIT_NPROC)
    used = _threads_of_user() if processes is not None and os.geteuid() != 0 else 0
    return {
        "files": soft(resource.RLIMIT_NOFILE),
        "file_bytes": soft(resource.RLIMIT_FSIZE),
        "processes_left": None
        if processes is None or os.geteuid() == 0
        else max(processes - used, 0),
    }


def _threads_of_user() -> int:
    """Processes and threads of this user, which the limit counts together."""
    import psutil

    count = 0
    for process in psutil.process_iter(["uids", "num_threads"]):
        uids = process.info["uids"]
        if uids is not None and uids.real == os.getuid():
            count += process.info["num_threads"] or 1
    return count


def _files(folder: Path | None) -> dict[str, int]:
    """Names and bytes of what lies in the cache: compiled steps, calibration."""
    if folder is not None:
        with contextlib.suppress(OSError):
            found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
            return {str(path.relative_to(folder)): path.stat().st_size for path in found}
    return {}
