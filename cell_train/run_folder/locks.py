"""Locks that go with the process that holds them, also where a file system has none.

There a name of this machine stands in (an abstract socket, made of the lock file's number): two
processes of one machine see each other, those of two machines do not.
"""

import contextlib
import errno
import fcntl
import os
import socket
import stat
import sys
import time
from pathlib import Path

from cell_train.storage import UNSUPPORTED

NO_LOCKS = UNSUPPORTED | {errno.ENOLCK}
PID_BYTES = 32  # a lock file holds no more than its holder's number


class Lock:
    """A lock that is held until it is closed, or its process ends."""

    def __init__(self, descriptor: int, name: socket.socket | None = None) -> None:
        self.descriptor, self.name = descriptor, name

    def close(self) -> None:
        os.close(self.descriptor)
        if self.name is not None:
            self.name.close()


def take(path: Path) -> Lock | None:
    """The lock of a lock file, made where there is none; None while another process holds it.

    Raises OSError where the file is a link, no plain file, or may not be written.
    """
    descriptor = _open(path, os.O_RDWR | os.O_CREAT)
    for pause in (0.0, 0.02, 0.2):  # a look by `held` holds it too, but only for a moment
        time.sleep(pause)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        except OSError as error:
            if error.errno not in NO_LOCKS:
                os.close(descriptor)
                raise
            name = _named(descriptor)
            if name is None:
                break
            return Lock(descriptor, name)
        return Lock(descriptor)
    os.close(descriptor)
    return None


def held(path: Path) -> bool:
    """Whether a process holds the lock of a lock file."""
    try:
        descriptor = _open(path, os.O_RDONLY)
    except OSError:  # there is none: nothing has run here yet
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError as error:
        name = _named(descriptor) if error.errno in NO_LOCKS else None
        if name is not None:
            name.close()
        return error.errno in NO_LOCKS and name is None
    finally:
        os.close(descriptor)
    return False


def sign(lock: Lock) -> None:
    """Say in the lock file who holds it; what is too long for that is left as it is."""
    with contextlib.suppress(OSError):  # on a full disk the lock holds, and tells nobody
        if os.fstat(lock.descriptor).st_size <= PID_BYTES:
            os.ftruncate(lock.descriptor, 0)
            os.pwrite(lock.descriptor, f"{os.getpid()}\n".encode(), 0)


def holder(path: Path) -> str:
    """The number of the process that signed a lock file."""
    with contextlib.suppress(OSError):
        descriptor = _open(path, os.O_RDONLY)
        try:
            said = os.read(descriptor, PID_BYTES).decode(errors="replace").strip()
        finally:
            os.close(descriptor)
        if said.isdecimal():
            return said
    return "unknown"


def _open(path: Path, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is no plain file", str(path))
    return descriptor


def _named(descriptor: int) -> socket.socket | None:
    """The name that stands in for a file's lock; None while another process has it."""
    found = os.fstat(descriptor)
    name = socket.socket(socket.AF_UNIX)
    if sys.platform != "linux":  # no names that go with their process: nobody is kept out
        return name
    try:
        name.bind(f"\0celltrain-{os.getuid()}-{found.st_dev}-{found.st_ino}")
    except OSError:
        name.close()
        return None
    return name
