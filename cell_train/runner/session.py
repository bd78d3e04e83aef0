"""One execution of a run folder: where it stands, and what of it could not be kept."""

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cell_train import events, storage
from cell_train.config import resolve
from cell_train.config.schema import ResolvedStage
from cell_train.events import Event, View
from cell_train.events.kinds import Log, Message, StageDone
from cell_train.run_folder import summary, thinning
from cell_train.run_folder.paths import RunFiles
from cell_train.run_folder.summary import Row
from cell_train.workers import launch
from cell_train.workers.supervisor import Interruption

OFTEN = 101  # lines between looks at the size of a file; a prime: several files take turns


@dataclass
class Run:
    """One execution of a run folder."""

    files: RunFiles
    rows: list[Row]
    view: View
    argv: launch.Command
    interruption: Interruption
    deadline: float | None
    here: Callable[[], None]  # raises NotSaved once the folder is no longer where it was
    slow: bool = False  # whether it was said that the step is not compiled
    unsaved: dict[Path, str] = field(default_factory=dict)  # file -> why it is not complete
    stages: dict[int, ResolvedStage] = field(default_factory=dict)  # as their files are now
    appended: int = 0  # lines

    def resolved(self, number: int) -> ResolvedStage:
        """What a stage's resolved.yaml says, which is parsed once. Raises ConfigError."""
        if number not in self.stages:
            self.stages[number] = resolve.read(self.files.stage(number).resolved)
        return self.stages[number]

    def emit(self, event: Event) -> None:
        """Keep an event in events.jsonl and show it."""
        if events.kept(event):
            self.append(self.files.events, event)
            self.view(event)

    def tell(self, stage: int, message: Message) -> None:
        """Emit an event of the parent's own."""
        self.emit(events.stamped(message, stage))

    def tell_row(self, row: Row) -> None:
        """Emit that a stage is complete, with its row of the summary."""
        now = round(time.time(), 3)
        self.emit({"event": StageDone.kind, "time": now, "stage": row["stage"], **row})

    def warn(self, stage: int, message: str) -> None:
        self.tell(stage, Log(level="warning", message=message))

    def append(self, path: Path, record: Mapping[str, Any]) -> None:
        """Add a line to a file of the run; a disk that takes none does not stop the run."""
        try:
            storage.append_line(path, json.dumps(record, ensure_ascii=False))
            self._keep_small(path)
        except OSError as error:
            self.unsaved[path] = reason(error)

    def _keep_small(self, path: Path) -> None:
        """Thin a file of events that has become large, now and then."""
        self.appended += 1
        if self.appended % OFTEN == 0 and thinning.is_due(path):
            thinning.thin(path)

    def write(self, path: Path, text: str) -> None:
        """Write a file of the run; a disk that does not take it does not stop the run."""
        try:
            storage.write_text(path, text)
        except OSError as error:
            self.unsaved[path] = reason(error)
        else:
            self.unsaved.pop(path, None)

    def summarize(
        self, status: str, exit_code: int | None = None, error: str | None = None
    ) -> dict[str, Any]:
        """Write summary.json; what it says."""
        record = summary.record(self.files, status, self.rows, exit_code, error)
        self.write(self.files.summary, summary.text(record))
        return record


def reason(error: OSError) -> str:
    """Why the file system refused."""
    return error.strerror or os.strerror(error.errno or 0)
