"""Where everything of a run lies, and how a file gets there whole or not at all.

runs/<UTC time>-<name>/
    plan.json  environment.json  events.jsonl  summary.json  .lock
    crash/ (after a failure: report.json  doctor.json  resolved.yaml  worker.log's end)
    report/ (on request: index.html and its figures)
    controls/bypass/  controls/frozen/ (where monitor.controls asks: like a run folder)
    stage-3/
        resolved.yaml  began.json  metrics.jsonl  worker.log  .lock
        result.json  lattice.json (when the stage is complete)
        tensorboard/ (where that package is installed)
        checkpoints/step-000120.pt + step-000120.json (its manifest, written last)
"""

import errno
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

MAX_JSON = 16 << 20  # bytes; a plan takes some ten thousand


@dataclass(frozen=True)
class StageFiles:
    """Paths of one stage inside a run folder."""

    folder: Path

    @property
    def resolved(self) -> Path:
        return self.folder / "resolved.yaml"

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.jsonl"

    @property
    def tensorboard(self) -> Path:
        return self.folder / "tensorboard"

    @property
    def log(self) -> Path:
        return self.folder / "worker.log"

    @property
    def result(self) -> Path:
        return self.folder / "result.json"

    @property
    def lattice(self) -> Path:
        return self.folder / "lattice.json"

    @property
    def began(self) -> Path:
        return self.folder / "began.json"

    @property
    def lock(self) -> Path:
        return self.folder / ".lock"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"


@dataclass(frozen=True)
class RunFiles:
    """Paths of one run."""

    folder: Path

    @property
    def plan(self) -> Path:
        return self.folder / "plan.json"

    @property
    def events(self) -> Path:
        return self.folder / "events.jsonl"

    @property
    def environment(self) -> Path:
        return self.folder / "environment.json"

    @property
    def summary(self) -> Path:
        return self.folder / "summary.json"

    @property
    def lock(self) -> Path:
        return self.folder / ".lock"

    @property
    def crash(self) -> Path:
        return self.folder / "crash"

    @property
    def report(self) -> Path:
        return self.folder / "report"

    def stage(self, number: int) -> StageFiles:
        return StageFiles(self.folder / f"stage-{number}")


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
