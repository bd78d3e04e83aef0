"""How a file is written whole or not at all, and where the cache is."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

MAX_JSON = 16 << 20  # bytes; a plan takes some ten thousand


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write to a temporary file beside `path`, fsync, rename: complete or absent, never half.

    Raises OSError as the file system does; `path` then holds what it held before.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename itself must survive a power cut
    finally:
        os.close(folder)


def write_text(path: Path, text: str) -> None:
    """`write_atomically` for text, as UTF-8."""
    write_atomically(path, lambda stream: stream.write(text.encode()))


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None when the file is absent, too large or damaged."""
    try:
        with path.open("rb") as stream:
            record = json.loads(stream.read(MAX_JSON + 1)[:MAX_JSON])
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint is what its manifest, the .json beside it, says: length and SHA-256."""
    import hashlib  # late: it brings OpenSSL, and commands that start quickly do without

    facts = read_json(checkpoint.with_suffix(".json")) or {}
    try:
        if checkpoint.stat().st_size != facts.get("bytes"):
            return False
        with checkpoint.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == facts.get("sha256")
    except OSError:
        return False


def append_line(path: Path, line: str) -> None:
    """Append a line whole or not at all. Raises OSError as the file system does."""
    with path.open("a+b", buffering=0) as stream:
        end = stream.seek(0, os.SEEK_END)
        cut = False  # a process killed while it wrote leaves half a line
        if end:
            stream.seek(end - 1)
            cut = stream.read(1) != b"\n"
        data = (b"\n" if cut else b"") + line.encode(errors="replace") + b"\n"
        try:
            if stream.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        except OSError:
            stream.truncate(end)
            raise


def cache_folder() -> Path:
    """Where compiled kernels and calibration are kept: the only place outside a run folder."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "celltrain"
