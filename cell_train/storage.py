"""How a file is written whole or not at all, and how one that a stranger may have made is opened.

No link is followed to where it leads, and nothing but a plain file is read or written.
"""

import contextlib
import errno
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

MAX_JSON = 16 << 20  # bytes; a plan takes some ten thousand
UNSUPPORTED = frozenset(  # what file systems say that cannot sync a folder, or lock, or rename
    (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF, errno.EISDIR)
)
NOT_SYNCED = UNSUPPORTED | {errno.EACCES, errno.EPERM}  # a folder that may be written, not read


def write_atomically(
    path: Path, write: Callable[[BinaryIO], object], permissions: int = 0o666
) -> None:
    """Write to a temporary file beside `path`, fsync, rename: complete or absent, never half.

    Raises OSError as the file system does; `path` then holds what it held before.
    """
    temporary = path.with_name(f".{path.name[:60]}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    try:
        with open(temporary, "xb", opener=_opener(permissions)) as stream:
            write(stream)
            stream.flush()
            _sync(stream.fileno(), UNSUPPORTED)
        _rename(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    with contextlib.suppress(PermissionError):  # a folder that may be written, not read
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            _sync(folder, NOT_SYNCED)  # the rename itself must survive a power cut
        finally:
            os.close(folder)


def _opener(permissions: int) -> Callable[[str, int], int]:
    return lambda name, flags: os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, permissions)


def _sync(descriptor: int, harmless: frozenset[int]) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:  # some network file systems know no such thing
        if error.errno not in harmless:
            raise


def _rename(temporary: Path, path: Path) -> None:
    try:
        os.replace(temporary, path)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        reason = f"its file system cannot rename files: {error.strerror}"
        raise OSError(error.errno, reason, str(path)) from None


def write_text(path: Path, text: str) -> None:
    """`write_atomically` for text, as UTF-8.

    Half characters, as Python reads bytes of a path that are no UTF-8, become what JSON and YAML
    write for them.
    """
    write_atomically(path, lambda stream: stream.write(text.encode(errors="backslashreplace")))


def open_plain(path: Path, follow: bool = False) -> BinaryIO:
    """A file opened for reading. Raises OSError where it is a link, a pipe or no file at all."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is no plain file", str(path))
    return os.fdopen(descriptor, "rb")


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None when the file is absent, no plain one, too large or damaged."""
    try:
        with open_plain(path) as stream:
            record = json.loads(stream.read(MAX_JSON + 1)[:MAX_JSON])
    except (OSError, ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def is_whole(path: Path) -> bool:
    """Whether a file is what its manifest, the .json beside it, says: length and SHA-256."""
    import hashlib  # late: it brings OpenSSL, and commands that start quickly do without

    facts = read_json(path.with_suffix(".json")) or {}
    try:
        with open_plain(path) as stream:
            if os.fstat(stream.fileno()).st_size != facts.get("bytes"):
                return False
            digest = hashlib.file_digest(stream, "sha256")  # type: ignore[arg-type]
            return digest.hexdigest() == facts.get("sha256")
    except OSError:
        return False


def append_line(path: Path, line: str) -> None:
    """Append a line whole or not at all. Raises OSError as the file system does."""
    with open(path, "a+b", buffering=0, opener=_opener(0o666)) as stream:
        end = stream.seek(0, os.SEEK_END)
        cut = False  # a process killed while it wrote leaves half a line
        if end:
            stream.seek(end - 1)
            cut = stream.read(1) != b"\n"
        data = (b"\n" if cut else b"") + line.encode(errors="backslashreplace") + b"\n"
        try:
            if stream.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        except OSError:
            stream.truncate(end)
            raise
