"""Reading a file that another process still writes."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from cell_train.events import Event, View
from cell_train.run_folder.paths import RunFiles
from cell_train.storage import open_plain

CHUNK = 1 << 20  # bytes at once; a longer line is left out


@dataclass
class Follower:
    """A file and how far it has been read."""

    path: Path
    position: int = 0
    file: tuple[int, int] | None = None  # its device and number
    last: bytes = b""  # the line read last

    def lines(self) -> Iterator[str]:
        """Whole lines that have come since; half a line is read again when there is more."""
        while chunk := self._read():
            whole = chunk.rfind(b"\n") + 1
            if not whole and len(chunk) < CHUNK:
                return
            self.position += whole or len(chunk)
            for line in chunk[:whole].splitlines():
                self.last = line
                yield line.decode(errors="replace")

    def _read(self) -> bytes:
        try:
            with open_plain(self.path) as stream:
                found = os.fstat(stream.fileno())
                known, self.file = self.file, (found.st_dev, found.st_ino)
                if known not in (None, self.file):  # thinned meanwhile: another file
                    self.position = self._again(stream)
                stream.seek(self.position)
                return stream.read(CHUNK)
        except OSError:  # nothing has been written yet
            return b""

    def _again(self, stream: BinaryIO) -> int:
        """Where, in a file that took the place of the one read, what has been read ends.

        At its end where the last line that was read is not there any more.
        """
        position = 0
        for line in stream:
            position += len(line)
            if line.rstrip(b"\r\n") == self.last:
                return position
        return position


def course(path: Path, metric: str) -> list[float]:
    """A metric at each evaluation of a metrics.jsonl, in order; of one done anew the later."""
    found: dict[int, float] = {}
    for line in Follower(path).lines():
        with contextlib.suppress(ValueError, RecursionError):
            row = json.loads(line)
            if isinstance(row, dict) and row.get("event") == "evaluation":
                value, step = row.get(metric), row.get("step")
                if isinstance(value, int | float) and isinstance(step, int):
                    found[step] = float(value)
    return [found[step] for step in sorted(found)]


def with_worker_logs(
    view: View, files: RunFiles, stages: Sequence[Mapping[str, Any]], anew: bool
) -> View:
    """The view, shown new lines of the stages' worker.log too; with `anew` also those there.

    `stages` are those of plan.json.
    """
    logs = {}
    for number in (stage["stage"] for stage in stages):
        path = files.stage(number).log
        logs[number] = Follower(path, path.stat().st_size if path.exists() and not anew else 0)

    def both(event: Event) -> None:
        view(event)
        number = event["stage"]
        for line in logs[number].lines() if number in logs else ():
            message = line.removeprefix(f"stage {number}: ")  # every view says that itself
            view({"event": "log", "stage": number, "level": "info", "message": message})

    return both
