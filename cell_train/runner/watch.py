"""Looking on at a run that another process runs, from its events.jsonl alone."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cell_train import events, invocation
from cell_train.errors import ConfigError
from cell_train.events import Event, View
from cell_train.run_folder import folder, summary
from cell_train.run_folder.identity import Note
from cell_train.run_folder.paths import RunFiles
from cell_train.run_folder.tail import Follower
from cell_train.runner import crash_report
from cell_train.runner.execute import Outcome

PAUSE = 0.25  # seconds between looks


def newest_running(parent: Path, note: Note = lambda _: None) -> RunFiles:
    """Raises ConfigError where none runs."""
    for files in folder.sound_runs(parent, note):
        if folder.running(files):
            return files
    hint = invocation.command("watch", "RUN")
    raise ConfigError(f"{parent}: holds no run that is running; name one: {hint}.")


def watch(files: RunFiles, view: View) -> Outcome:
    """Show a run from its beginning until it ends; how it ended.

    Raises ConfigError where its plan.json is damaged.
    """
    plan = folder.read_plan(files)
    for event in _follow(files.events, lambda: not folder.running(files)):
        view(event)
    said = summary.read(files, plan)
    if said["status"] == "completed":
        return Outcome(said, 0)
    resume = f"To go on: {crash_report.resume_command(files)}"
    if said["exit_code"] is None:
        message = f"The process that ran it is gone; what it has done is kept.\n{resume}"
    else:
        message = "\n".join((*((said["error"],) if said["error"] else ()), resume))
    return Outcome(said, said["exit_code"] or 1, message)


def _follow(path: Path, ended: Callable[[], bool]) -> Iterator[Event]:
    """Events of a file from its start, as they come, until `ended` and none is left."""
    file = Follower(path)
    while True:
        last = ended()  # asked before reading: all that was written before the end is read
        for line in file.lines():
            event = events.parse(line) or {}
            told = {key: value for key, value in event.items() if value is not None}
            if "event" in told and events.sound(told):
                yield told
        if last:
            return
        time.sleep(PAUSE)
