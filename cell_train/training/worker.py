"""The process that trains one stage: resolved.yaml in, one JSON event a line out.

    python -m cell_train.training.worker RUN/stage-3/resolved.yaml --events-fd 5

Its standard input is a liveness pipe: at its end the parent is gone, and the worker checkpoints
and stops, or is gone without after a few seconds; while it still starts, at once. While its parent
is stopped it rests after its step. SIGINT and SIGTERM let it checkpoint and end with 130 and 143.
SIGUSR1 writes where every thread stands to the log.

All but the lightest is imported late: the worker must hear of all this while it still starts.
"""

import argparse
import contextlib
import ctypes
import errno
import faulthandler
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TextIO

from cell_train import events, streams
from cell_train.errors import (
    EXIT_INTERRUPTED,
    EXIT_TERMINATED,
    CelltrainError,
    NotSaved,
    OutOfMemory,
    starved,
)
from cell_train.events.kinds import Failed, Message, Stopped
from cell_train.run_folder import locks
from cell_train.run_folder.paths import RunFiles, StageFiles

EXIT_CODES = {"SIGINT": EXIT_INTERRUPTED, "SIGTERM": EXIT_TERMINATED}
ORPHAN_GRACE = 2.5  # seconds to save in, once the parent is gone: it must stop within 5
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
REST = 0.2  # seconds between looks whether a parent that is stopped goes on
HANDOVER = 10.0  # seconds to wait for the worker of a parent that was killed just now
DISK = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO)
)


def main() -> int:
    parser = argparse.ArgumentParser(description="Train one stage.")
    parser.add_argument("resolved", type=Path)
    parser.add_argument("--events-fd", type=int, required=True)
    arguments = parser.parse_args()
    _die_with_parent(True)
    streams.secure()  # the log's disk may be full
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    asked: list[str] = []  # names of the signals that ask to stop, in order
    _listen(asked, arguments.resolved.absolute().parents[1])
    stream = os.fdopen(arguments.events_fd, "w", encoding="utf-8", errors="backslashreplace")
    return _train(arguments.resolved, stream, asked)


def _train(path: Path, stream: TextIO, asked: list[str]) -> int:
    stage = 0

    def emit(message: Message) -> None:
        with contextlib.suppress(BrokenPipeError):  # the parent is gone: `asked` will say so
            events.write(stream, message, stage)

    try:
        from cell_train.config import resolve

        resolved = resolve.read(path)
        stage = resolved.number
        files = StageFiles(path.parent)
        with _alone(files.lock):
            from cell_train.training.setup import prepare
            from cell_train.training.state import Interrupted

            _die_with_parent(False)  # from here on there may be something to save
            try:
                trainer = prepare(resolved, files, emit, lambda: _is_to_stop(asked))
                emit(trainer.run())
            except Interrupted as stop:
                where = str(stop.path) if stop.path else None
                emit(Stopped(signal=asked[0], checkpoint=where))
                return EXIT_CODES[asked[0]]
    except Exception as error:
        with contextlib.suppress(OSError):
            traceback.print_exc()  # for the log; the parent gets the sentence
        known = _classify(error)
        emit(Failed(error=type(known).__name__, message=str(known)))
        return known.exit_code
    return 0


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Wait until no other worker trains this stage; the lock goes with the process."""
    deadline = time.monotonic() + HANDOVER
    while (held := locks.take(lock)) is None:
        if time.monotonic() > deadline:
            raise CelltrainError(f"{lock}: another worker still trains this stage; end it first")
        time.sleep(0.1)
    try:
        yield
    finally:
        held.close()


def _is_to_stop(asked: list[str]) -> bool:
    """Whether a signal has asked for it. While the parent is stopped nobody is told: it rests."""
    while not asked and _is_stopped(os.getppid()):
        time.sleep(REST)
    return bool(asked)


def _is_stopped(pid: int) -> bool:
    """Whether a process is stopped, as by SIGSTOP; False where /proc does not say."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1] == b"T"
    except OSError:
        return False


def _die_with_parent(yes: bool) -> None:
    """Whether the kernel is to kill this process when its parent ends (on Linux).

    Loading torch holds the interpreter for seconds on a busy machine: no thread of ours would
    hear the liveness pipe meanwhile. Later it is only woken, should it have been stopped: then it
    hears it.
    """
    if sys.platform == "linux":
        number = signal.SIGKILL if yes else signal.SIGCONT
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(number))
    if yes and select.select([0], [], [], 0)[0]:  # nobody writes there: it is gone already
        sys.exit(EXIT_TERMINATED)


def _listen(asked: list[str], run: Path) -> None:
    """Note SIGINT, SIGTERM and the end of the liveness pipe in `asked`; the end in `run` too."""

    def note(number: int, _: FrameType | None) -> None:
        asked.append(signal.Signals(number).name)

    def wait_for_parent() -> None:
        while os.read(0, 1024):
            pass
        asked.append("SIGTERM")
        last = time.monotonic() + ORPHAN_GRACE
        with contextlib.suppress(Exception):  # the folder may be anything by now
            from cell_train.run_folder import summary

            summary.take_leave(RunFiles(run))
        time.sleep(max(0.0, last - time.monotonic()))
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)  # a compiler it may have started goes too
        os._exit(EXIT_TERMINATED)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, note)
    threading.Thread(target=wait_for_parent, daemon=True).start()


def _classify(error: Exception) -> CelltrainError:
    """The failure as one of ours, so that the parent ends with the right code."""
    if isinstance(error, CelltrainError):
        return error
    text = f"{type(error).__name__}: {error}".splitlines()[0]
    if starved(error):
        return OutOfMemory(f"memory ran out ({text})")
    if isinstance(error, OSError) and error.errno in DISK:
        return NotSaved(f"{error.filename or 'the run folder'}: {error.strerror}; make room there")
    return CelltrainError(f"the worker failed: {text}")


if __name__ == "__main__":
    # At once: an orderly end of the interpreter takes seconds on a busy machine, and no thread of
    # ours can cut it short when the parent is gone. Events and log are written through.
    os._exit(main())
