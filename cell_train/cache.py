"""What is kept from run to run in the user's cache: found again whole and ours, or made anew.

A cache that is absent, full, damaged, of another machine or open to other users makes a run
slower, never different, and never loads what somebody else has put there.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from cell_train import storage

T = TypeVar("T")
PATIENCE = 200.0  # seconds to wait for another process that builds the same
ABANDONED = 3600.0  # seconds after which what a killed build has left goes
BUILD_ROOM = 16 << 20  # bytes free that a build needs
FORMAT = 1  # of the JSON files
BUILD = ".build-"  # how folders begin in which something is built


class NoRoom(OSError):
    """There is no place to keep things in; `strerror` says why."""

    def __init__(self, why: str) -> None:
        super().__init__(0, why)


def location() -> Path | None:
    """Where the cache is to be, there or not; None for a user without a home."""
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache").absolute() / "celltrain"
    except RuntimeError:  # no HOME, and no line in the list of users
        return None


def room(kind: str = "", make: bool = False) -> Path:
    """The cache's folder for `kind`, made where it is not there and `make` is set.

    Raises OSError (`strerror` says why) where there is none, or where another user may alter it.
    """
    top = location()
    if top is None:
        raise NoRoom("no home folder: HOME is not set and this user has no entry in /etc/passwd")
    for folder in dict.fromkeys((top, top / kind)):
        if make:
            folder.mkdir(mode=0o700, parents=folder == top, exist_ok=True)
        mode = folder.stat()
        if mode.st_uid == os.geteuid() and mode.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            with contextlib.suppress(OSError):  # where that cannot be done it is not trusted
                folder.chmod(stat.S_IMODE(mode.st_mode) & ~(stat.S_IWGRP | stat.S_IWOTH))
    folder = (top / kind).resolve()
    why = _open_to_others(folder)
    if why is not None:
        raise NoRoom(why)
    return folder


def _open_to_others(folder: Path) -> str | None:
    """How another user could alter what lies in a folder; None where only root could."""
    for one in (folder, *folder.parents):
        found = one.stat()
        if found.st_uid not in (0, os.geteuid()):
            return f"{one} belongs to another user"
        own_group = one != folder and found.st_gid in (0, os.getegid())
        writers = stat.S_IWOTH | (0 if own_group else stat.S_IWGRP)
        sticky = one != folder and found.st_mode & stat.S_ISVTX
        if found.st_mode & writers and not sticky:
            return f"other users may write to {one}"
    return None


def is_ours(path: Path) -> bool:
    """Whether a file of the cache is a plain one that no other user owns or may write."""
    try:
        found = path.lstat()
    except OSError:
        return False
    closed = not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISREG(found.st_mode) and closed and found.st_uid in (0, os.geteuid())


def facts(path: Path) -> dict[str, Any] | None:
    """What was noted with a kept file; None unless it is, byte for byte, what was kept."""
    manifest = path.with_suffix(".json")
    if not (is_ours(path) and is_ours(manifest) and storage.is_whole(path)):
        return None
    return storage.read_json(manifest)


def keep(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file of the cache and, last, its manifest with the facts that `write` returns.

    Raises OSError as the file system does; there is no such file then.
    """
    noted: dict[str, Any] = {}

    def fill(stream: BinaryIO) -> None:
        hashed = _Hashed(stream)
        noted.update(told if isinstance(told := write(hashed), dict) else {})  # type: ignore[arg-type]
        noted.update(bytes=hashed.count, sha256=hashed.digest.hexdigest())

    manifest = path.with_suffix(".json")
    manifest.unlink(missing_ok=True)  # the old one must never vouch for new bytes
    storage.write_atomically(path, fill, 0o600)
    _write_json(manifest, noted)


class _Hashed:
    """A stream that is written from beginning to end, and hashed on the way."""

    def __init__(self, stream: BinaryIO) -> None:
        import hashlib  # late, as in storage.is_whole

        self.stream, self.digest, self.count = stream, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.count += len(data)
        return self.stream.write(data)


def read_record(name: str) -> dict[str, Any] | None:
    """A small JSON object of the cache, as `keep_record` wrote it; else None."""
    try:
        path = room() / name
    except OSError:
        return None
    found = (storage.read_json(path) if is_ours(path) else None) or {}
    content = found.get("content")
    if found.get("format") != FORMAT or not isinstance(content, dict):
        return None
    return content if found.get("crc32") == _sum(content) else None


def keep_record(name: str, content: Mapping[str, Any]) -> Path:
    """Keep a small JSON object under a name. Raises OSError as the file system does."""
    path = room(make=True) / name
    _write_json(path, {"format": FORMAT, "crc32": _sum(content), "content": content})
    return path


def _sum(content: Mapping[str, Any]) -> int:
    import json

    return zlib.crc32(json.dumps(content, sort_keys=True).encode())


def _write_json(path: Path, record: Mapping[str, Any]) -> None:
    import json

    text = json.dumps(record, indent=1) + "\n"
    storage.write_atomically(path, lambda stream: stream.write(text.encode()), 0o600)


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait while another process builds `path`, for PATIENCE seconds at most.

    Where no lock can be had both build, each under a name of its own.
    """
    try:
        lock = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
    except OSError:
        yield
        return
    try:
        deadline = time.monotonic() + PATIENCE
        while not _locked(lock) and time.monotonic() < deadline:
            time.sleep(0.1)
        yield
    finally:
        os.close(lock)


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        pass
    return True


def library(
    name: str,
    build: Callable[[Path], None],
    load: Callable[[Path], T],
    elsewhere: Path | None = None,
) -> tuple[T, str]:
    """(a shared library loaded from the cache, or built there; why it could not be kept).

    One that cannot be what was built, or cannot be loaded, is built anew. Where the cache will
    not do it is built for this process alone, in the temporary folder or in `elsewhere`, and
    removed once it is loaded. Raises OSError where no place will do, and what `build` does.
    """
    reasons = []
    try:
        return _kept_library(room("steps", make=True) / name, build, load), ""
    except OSError as error:
        reasons.append(_why(error))
    for place in (_temporary, lambda: elsewhere):
        try:
            folder = place()
            if folder is None:
                continue
            with _build_folder(folder) as own:
                build(own / name)
                return load(own / name), f"cannot be kept: {reasons[0]}"
        except OSError as error:
            reasons.append(_why(error))
    raise OSError(0, "; ".join(dict.fromkeys(reasons)))


def _kept_library(path: Path, build: Callable[[Path], None], load: Callable[[Path], T]) -> T:
    for wait in (False, True):  # the second look is at what another process may have built
        with alone(path) if wait else contextlib.nullcontext():
            if facts(path) is not None:
                with contextlib.suppress(OSError):  # built where other libraries are
                    return load(path)
            if wait:
                _sweep(path.parent)
                with _build_folder(path.parent) as own:
                    build(own / path.name)
                    keep(path, partial(_pour, own / path.name))
    return load(path)


def _pour(built: Path, stream: BinaryIO) -> None:
    stream.write(built.read_bytes())


@contextlib.contextmanager
def _build_folder(parent: Path) -> Iterator[Path]:
    """A folder of this process alone, which goes afterwards."""
    if shutil.disk_usage(parent).free < BUILD_ROOM:
        raise OSError(errno.ENOSPC, f"less than {BUILD_ROOM >> 20} MiB free", str(parent))
    with tempfile.TemporaryDirectory(
        prefix=BUILD, dir=parent, ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)


def _sweep(folder: Path) -> None:
    """Remove what builds have left that were killed."""
    for old in (*folder.glob(f"{BUILD}*"), *folder.glob(".*.tmp")):
        with contextlib.suppress(OSError):
            if time.time() - old.lstat().st_mtime > ABANDONED:
                shutil.rmtree(old) if old.is_dir() else old.unlink()


def _temporary() -> Path | None:
    return Path(tempfile.gettempdir())


def _why(error: OSError) -> str:
    said = error.strerror or str(error)
    return f"{error.filename}: {said}" if error.filename else said
