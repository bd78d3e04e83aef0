"""Standard output and error: whatever becomes of them, what is said never ends who says it.

Python raises where a stream is closed, its reader gone, its disk full or a character not in its
encoding, and ends with 120 where the last flush fails. `secure` puts streams in their place that
keep to one policy:

- closed from the start: as if it were the null device;
- gone (no reader, no terminal): what is said from then on is dropped, and `lost` tells; where a
  disk has no room it is dropped until there is some;
- not read for now (a pager, a terminal held by Ctrl-S): it waits in memory, `BACKLOG` bytes at
  most; then on stdout the one who speaks waits, and what is said on stderr is dropped. Once all
  is to `hurry`, nobody waits longer than a moment;
- a character it has no code for: a plain one like it, or its escape. JSON is escaped as JSON is.
"""

import codecs
import contextlib
import errno
import io
import json
import os
import select
import sys
from collections.abc import Mapping
from typing import Any, TextIO

BACKLOG = 4 << 20  # bytes that wait for a reader who reads nothing for now
PIECE = 4096  # bytes that a pipe ready to be written takes whole (PIPE_BUF)
ROOM = (errno.ENOSPC, errno.EDQUOT)  # a disk that is full may have room again
BRIEF = 2.0  # seconds that a stream may take nothing once all is to end
SIMILAR = str.maketrans(
    {"×": "x", "✓": "+", "✗": "x", "▶": ">", "■": "#", "·": ".", "…": "...", "→": ">", "−": "-"}
    | {"–": "-", "’": "'", "│": "|", "─": "-", "━": "-", "╭": "+", "╮": "+", "╰": "+", "╯": "+"}
)


def secure() -> None:
    """Make sure of the three standard descriptors, and of what is said on two of them."""
    for descriptor, flags in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:  # else the next file opened would take this number, and what is said
            os.dup2(os.open(os.devnull, flags), descriptor)
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        said = getattr(sys, name)
        if said is not None:
            with contextlib.suppress(OSError, ValueError):
                said.flush()
        encoding = getattr(said, "encoding", None) or "utf-8"
        setattr(sys, name, _Stream(_Descriptor(descriptor), encoding))


def lost(stream: TextIO) -> OSError | None:
    """Why a stream takes no more; None while it does, or where it is none of `secure`'s."""
    return stream.raw.lost if isinstance(stream, _Stream) else None


def reader_left(stream: TextIO) -> bool:
    """Whether a stream was a pipe or socket that nobody reads any more."""
    why = lost(stream)
    return why is not None and why.errno in (errno.EPIPE, errno.ECONNRESET)


def hurry() -> None:
    """All is to end: from now on nobody waits for a stream that takes nothing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, _Stream):
            stream.raw.patient = False


def kept_elsewhere() -> None:
    """What a command prints is not all there is of it: it may get lost, and the command succeed."""
    if isinstance(sys.stdout, _Stream):
        sys.stdout.raw.owed = False


def undelivered() -> OSError | None:
    """Why what a command owes on stdout did not arrive."""
    owed = isinstance(sys.stdout, _Stream) and sys.stdout.raw.owed
    return lost(sys.stdout) if owed else None


def drain() -> None:
    """Wait until what was said has been taken, or its stream is gone."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
        if isinstance(stream, _Stream):
            stream.raw.drain()


def as_json(record: Mapping[str, Any], encoding: str | None) -> str:
    r"""One line of JSON for a stream of this encoding: \u escapes where it is not UTF-8, or where
    a text holds half a character."""
    text = json.dumps(record, ensure_ascii=False)
    try:
        text.encode(encoding or "ascii")
        plain = codecs.lookup(encoding or "ascii").name == "utf-8"
    except (UnicodeEncodeError, LookupError):
        plain = False
    return text if plain else json.dumps(record)


class _Descriptor(io.RawIOBase):
    """A descriptor whose writes never fail; it stays open."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.lost: OSError | None = None
        self.owed = descriptor == 1  # whether a command has failed whose words do not arrive
        self.patient = True
        self._out = _unblocked(descriptor)
        self._waiting = bytearray()
        self._poll = select.poll()
        self._poll.register(self._out, select.POLLOUT)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.descriptor

    def isatty(self) -> bool:
        return os.isatty(self.descriptor)

    def write(self, data: Any, /) -> int:
        size = len(data)
        full = len(self._waiting) > BACKLOG and self.descriptor != 1
        if self.lost is None or self.lost.errno in ROOM:
            self._waiting += b"" if full else data
            self._push(0.0)
            while len(self._waiting) > BACKLOG and self.descriptor == 1:
                self._push(0.2)
                if not self.patient:
                    self._lose(OSError(errno.EAGAIN, "nobody reads it"))
        return size

    def drain(self) -> None:
        """Wait until nothing waits; when all is to hurry, `BRIEF` seconds at most."""
        waited = 0.0
        while self._waiting:
            before = len(self._waiting)
            self._push(0.2)
            waited = waited + 0.2 if len(self._waiting) == before else 0.0
            if waited >= BRIEF and (not self.patient or not self.owed):
                self._lose(OSError(errno.EAGAIN, "nobody reads it"))

    def _push(self, seconds: float) -> None:
        """Write what waits, as far as it is taken; `seconds` to wait for the first piece."""
        while self._waiting and self._poll.poll(round(1000 * seconds)):
            try:
                taken = os.write(self._out, self._waiting[:PIECE])
            except BlockingIOError:
                return
            except OSError as error:
                self._lose(error)
                return
            del self._waiting[:taken]
            seconds = 0.0

    def _lose(self, error: OSError) -> None:
        self.lost = error
        self._waiting.clear()


def _unblocked(descriptor: int) -> int:
    """A terminal opened once more, so that it can be written to without waiting: to make it so
    itself would change it for the shell as well. Anything else is taken as it is."""
    with contextlib.suppress(OSError):
        if os.isatty(descriptor):
            how = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY
            return os.open(os.ttyname(descriptor), how)
    return descriptor


class _Stream(io.TextIOWrapper):
    """Text on a `_Descriptor`, written line by line."""

    raw: _Descriptor

    def __init__(self, raw: _Descriptor, encoding: str) -> None:
        super().__init__(
            io.BufferedWriter(raw, PIECE), encoding, "celltrain-similar", line_buffering=True
        )
        self.raw = raw


def _similar(error: UnicodeError) -> tuple[str | bytes, int]:
    """For characters that an encoding lacks: plain ones like them, or their escapes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    plain = error.object[error.start : error.end].translate(SIMILAR)
    return plain.encode("ascii", "backslashreplace").decode("ascii"), error.end


codecs.register_error("celltrain-similar", _similar)
