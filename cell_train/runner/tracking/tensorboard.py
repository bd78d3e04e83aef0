"""A stage's figures as TensorBoard reads them, where the `tensorboard` package is installed.

The numbers are those of metrics.jsonl, under `step/loss`, `evaluation/bleu` and so on. Where a
stage goes back to a checkpoint, TensorBoard is told to forget what came after it.
"""

import importlib.util
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from cell_train import events
from cell_train.events import Event


class Board:
    """The event file of one attempt at a stage; none without the package."""

    def __init__(self, folder: Path, warn: Callable[[str], None]) -> None:
        self.path = folder / f"events.out.tfevents.{time.time_ns()}"  # by name the latest is last
        self.warn = warn
        self.works = importlib.util.find_spec("tensorboard") is not None
        self.step = 0  # the last that was written
        self.steps_per_epoch = 0

    def take(self, event: Event) -> None:
        """Write an event. Nothing here can stop a run."""
        if not self.works:
            return
        try:
            self._write(event["event"], event)
        except Exception as error:  # a full disk, an installation that does not hang together
            self.works = False
            self.warn(f"no more TensorBoard events are written to {self.path.parent} ({error})")

    def _write(self, kind: str, event: Event) -> None:
        if kind == "stage_start":
            self.step, self.steps_per_epoch = event["step"], event["steps"] // event["epochs"]
            self.path.parent.mkdir(exist_ok=True)
            self._append(event, file_version="brain.Event:2")
            self._forget_from(event, self.step + 1)
            return
        step = event.get("step", self.step)
        if "epoch" in event and "step" not in event:  # found as the epoch began
            step = event["epoch"] * self.steps_per_epoch + 1
        if kind == "step":
            if step <= self.step:  # rolled back
                self._forget_from(event, step)
            self.step = step
        values = [
            {"tag": f"{kind}/{name}", "simple_value": value}
            for name, value in events.figures(event).items()
        ]
        self._append(event, step=step, summary={"value": values})

    def _forget_from(self, event: Event, step: int) -> None:
        self._append(event, step=step, session_log={"status": "START"})

    def _append(self, event: Event, **fields: Any) -> None:
        """Add a record. The parts of tensorboard used here import no TensorFlow and no torch."""
        from tensorboard.compat.proto import event_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        record = BytesIO()
        message = event_pb2.Event(wall_time=event["time"], **fields)
        RecordWriter(record).write(message.SerializeToString())
        with self.path.open("ab") as stream:
            stream.write(record.getvalue())
