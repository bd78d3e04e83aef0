"""Where everything of a run lies, and how a file gets there whole or not at all.

runs/<UTC time>-<name>/
    plan.json  events.jsonl  summary.json  .lock
    stage-3/
        resolved.yaml  metrics.jsonl  worker.log  result.json (when the stage is complete)
        checkpoints/step-000120.pt + step-000120.json (its manifest, written last)
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


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
    def log(self) -> Path:
        return self.folder / "worker.log"

    @property
    def result(self) -> Path:
        return self.folder / "result.json"

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
    def summary(self) -> Path:
        return self.folder / "summary.json"

    @property
    def lock(self) -> Path:
        return self.folder / ".lock"

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


def cache_folder() -> Path:
    """Where compiled kernels and calibration are kept: the only place outside a run folder."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "celltrain"
