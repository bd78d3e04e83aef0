"""A run folder's story, read within bounds and checked value by value.

The folder may be unfinished, damaged or hostile: what does not fit is left out, and `notes` says
what was. Nothing here is escaped yet; `page` does that for all text.
"""

import math
import os
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cell_train import events, storage
from cell_train.config import resolve
from cell_train.errors import ConfigError
from cell_train.events import Event
from cell_train.formatting import gib
from cell_train.report.run_data import event_readers
from cell_train.report.run_data.checked import (
    MAX_TEXT,
    count,
    listing,
    mapping,
    one_of,
    real,
    reals_of,
    shape,
    text,
)
from cell_train.report.run_data.story import Cells, StageStory, Story
from cell_train.run_folder import folder
from cell_train.run_folder.paths import RunFiles

MAX_EVENTS = 64 << 20  # bytes parsed of events.jsonl
MAX_SCANNED = 4 << 30  # bytes looked through
STEP = b'"event": "step"'
MAX_START = 40  # bytes of a line, in which its kind stands
MAX_LINE = 1 << 20  # bytes of one event
MAX_STAGES = 32
DEPTH = 4  # of sections in sections
MAX_FACTS = 80  # of the environment
MAX_CELLS = 50_000
MAX_LABELS = 64
POINTS = 200  # of a curve
NAME = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)\d\dZ-(.+)")
STATUS = ("pending", "running", "completed", "failed", "interrupted")


def read(files: RunFiles) -> Story:
    """The story of a run. Raises ConfigError where plan.json is none or the folder holds links."""
    folder.check_plain(files, pipes=True)
    plan = folder.read_plan(files)
    summary = _json(files.summary) or {}
    notes: list[str] = []
    if len(plan["stages"]) > MAX_STAGES:
        notes.append(f"of {len(plan['stages'])} stages the first {MAX_STAGES} are shown")
    status = folder.status(files)  # with the lock: of a run that was killed nothing else tells
    rows = {
        row["stage"]: row
        for row in listing(summary.get("stages"))
        if isinstance(row, dict) and isinstance(row.get("stage"), int)
    }
    for row in rows.values():
        if row.get("status") == "running" != status:
            row["status"] = "interrupted"
    stages = {}
    for planned in plan["stages"][:MAX_STAGES]:
        stage = _planned(planned)
        _sum_up(stage, rows.get(stage.number, {}))
        stages[stage.number] = stage
    last = _follow(files.events, stages, notes)
    for stage in stages.values():
        of = files.stage(stage.number)
        stage.lattice = _cells(_json(of.lattice) or {})
        stage.configuration = _configuration(of.resolved, notes)
    budget = mapping(plan.get("budget"))
    named = NAME.fullmatch(files.folder.name)
    name = text(named[6] if named else files.folder.name)
    return Story(
        name=name or "a run",
        date="{}-{}-{} {}:{} UTC".format(*named.groups()) if named else "",
        status=status,
        error=text(summary.get("error"), 4 * MAX_TEXT),
        stages=list(stages.values()),
        device=text(budget.get("source")) or "",
        profile=text(budget.get("profile")) or "",
        environment=_environment(_json(files.environment) or {}),
        last_event=last,
        notes=notes,
    )


def _planned(row: dict[str, Any]) -> StageStory:
    return StageStory(
        number=row["stage"],
        description=text(row["description"]) or "",
        profile=text(row["plasticity_profile"]) or "",
        dimensions=shape(row["dimensions"]) or (),
        density=row["connection_density"],
        epochs=row["epochs"],
        predicted_bytes=real(row["predicted_peak_bytes"]),
        predicted_seconds=real(row.get("seconds")),
    )


def _sum_up(stage: StageStory, row: dict[str, Any]) -> None:
    """What summary.json says of a stage."""
    stage.status = one_of(STATUS, row.get("status"), "pending")
    stage.primary = text(row.get("primary"))
    stage.seconds = real(row.get("seconds"))
    stage.peak_bytes = real(row.get("peak_bytes"))
    stage.predicted_bytes = real(row.get("predicted_peak_bytes")) or stage.predicted_bytes
    stage.samples_seen = real(row.get("samples"))
    stage.mean_change = real(row.get("mean_abs_change"))


def _follow(path: Path, stages: dict[int, StageStory], notes: list[str]) -> float | None:
    """Tell every event to its stage; when the last one was."""
    last = None
    for event in _events(path, notes):
        number = event.get("stage")
        stage = stages.get(number) if isinstance(number, int) else None
        take = event_readers.TAKE.get(str(event["event"]))
        last = real(event.get("time")) or last
        if stage is not None and take is not None:
            take(stage, event)
    for stage in stages.values():
        stage.points = _thin(stage.points)
        stage.evaluations = _thin(list({e.step: e for e in stage.evaluations}.values()))
        stage.clusterings = _thin(stage.clusterings)
    return last


def _cells(record: dict[str, Any]) -> Cells | None:
    """lattice.json, or None unless all of it hangs together."""
    sides = shape(record.get("dimensions"))
    if sides is None or math.prod(sides) > MAX_CELLS:
        return None
    cells, face = math.prod(sides), sides[0] * sides[1]
    strength, activity = reals_of(record, "strength", cells), reals_of(record, "activity", cells)
    if strength is None or activity is None:
        return None
    cluster = reals_of(record, "cluster", cells)
    if cluster is not None and not all(-1 <= label < MAX_LABELS for label in cluster):
        cluster = None
    faces = mapping(record.get("faces"))
    enter, leave = reals_of(faces, "in", face), reals_of(faces, "out", face)
    return Cells(
        dimensions=sides,
        stride=count(record.get("stride")) or 1,
        cluster=None if cluster is None else [int(label) for label in cluster],
        strength=strength,
        activity=activity,
        faces=(enter, leave) if enter is not None and leave is not None else None,
    )


def _configuration(path: Path, notes: list[str]) -> dict[str, tuple[str, str]]:
    """Every key of a stage as text, with its source."""
    if not path.is_file():
        return {}
    try:
        resolved = resolve.read(path)
    except ConfigError as error:
        notes.append(text(str(error)) or "")
        return {}
    sources = mapping(resolved.sources)
    tree = {**asdict(resolved.stage), "execution": asdict(resolved.execution)}
    return {
        key: (_value(value), text(sources.get(key), 120) or "the plan")
        for key, value in _leaves(tree)
        if not key.endswith("predicted_peak_bytes")  # told with what was measured
    }


def _leaves(
    tree: dict[str, Any], prefix: str = "", depth: int = DEPTH
) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict) and depth > 0:
            yield from _leaves(value, f"{prefix}{key}.", depth - 1)
        else:
            yield prefix + key, value


def _value(value: Any) -> str:
    """A value as a stage file would say it; of what lies deeper in it nothing."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(_scalar(one) for one in value[:8])}]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict | list):
        return "…"
    return f"{value:g}" if isinstance(value, float) else text(str(value), 120) or ""


def _environment(record: dict[str, Any]) -> list[tuple[str, str]]:
    facts = []
    said = [(key, value) for key, value in _leaves(record) if value is not None]
    for key, value in said[:MAX_FACTS]:
        name = (text(key, 60) or "").removeprefix("packages.").removeprefix("variables.")
        if key.endswith("_bytes"):
            facts.append((name.removesuffix("_bytes"), gib(real(value))))
        else:
            facts.append((name, _value(value)))
    return facts


def _events(path: Path, notes: list[str]) -> Iterator[Event]:
    """Events of a file, of a large one all but most steps; lines that are none are passed over.

    Whatever its size, no more than about MAX_EVENTS bytes are parsed: where the events that are no
    steps take more, they are thinned too. Of a file beyond MAX_SCANNED its end is told.
    """
    try:
        stream = storage.open_plain(path)
    except OSError:
        return
    with stream:
        size = os.fstat(stream.fileno()).st_size
        if size > MAX_SCANNED:
            stream.seek(size - MAX_SCANNED)
            stream.readline(MAX_LINE)  # the rest of one
            notes.append(f"of {path.name} the last {MAX_SCANNED >> 20} MiB are told")
        often = max(1, size // MAX_EVENTS)  # of so many steps one is told
        seen, left = 0, MAX_EVENTS
        while line := stream.readline(MAX_LINE):
            step = STEP in line[:MAX_START]
            seen += step
            left -= 0 if step else len(line)
            if (step or left < 0) and often > 1 and seen % often:
                continue
            event = events.parse(line.decode(errors="replace"))
            if event is not None:
                yield event


def _thin(curve: list[Any]) -> list[Any]:
    """At most about POINTS of a curve, its last among them."""
    stride = -(-len(curve) // POINTS)
    return curve[::-1][::stride][::-1] if stride > 1 else curve


def _json(path: Path) -> dict[str, Any] | None:
    """A JSON object of a plain file (a named pipe would keep a reader waiting)."""
    return storage.read_json(path) if path.is_file() else None
