"""What crosses the process border: one flat JSON object a line, from the worker to its parent.

Every event has `event` (its name), `time` (Unix seconds) and `stage`. kinds.py defines each kind
once: its fields, their types and meanings, and who reads them. What is written, checked, kept in
metrics.jsonl, shown to TensorBoard and documented in docs/events.md follows from there.
"""

import json
import math
import time
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, TextIO, Union, get_args, get_origin

from cell_train.events.kinds import KINDS, LEFT_OUT, Message, fields

Event = dict[str, Any]
View = Callable[[Event], None]
"""What is told every event: a display, a log, nothing."""


def record(message: Message) -> Event:
    """The event that a message becomes; its writer adds `time` and `stage`."""
    held = {name: value for name, value in vars(message).items() if value is not LEFT_OUT}
    return {"event": message.kind, **held}


def stamped(message: Message, stage: int) -> Event:
    """The event of a message that is sent now."""
    said = record(message)
    return {"event": said.pop("event"), "time": round(time.time(), 3), "stage": stage, **said}


def write(stream: TextIO, message: Message, stage: int) -> None:
    """Write one event and flush it, so that a reader never waits for a buffer."""
    line = json.dumps(stamped(message, stage), ensure_ascii=False, allow_nan=False)
    stream.write(line + "\n")
    stream.flush()


def parse(line: str) -> Event | None:
    """One event, or None for a line that is none (a worker killed in the middle of a write)."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and "event" in found else None


def sound(event: Event) -> bool:
    """Whether all that a reader may read of an event is of the type it should be.

    A run folder may come from a stranger, and a worker runs a user's code. Kinds and fields that
    nobody reads may hold anything; a field may be missing.
    """
    if not isinstance(event["event"], str) or type(event.get("stage")) is not int:
        return False
    known = fields(event["event"])
    return all(matches(event[name], said.type) for name, said in known.items() if name in event)


def kept(event: Event) -> bool:
    """Whether an event belongs into events.jsonl and before the eyes of those who look on."""
    kind = KINDS.get(event["event"])
    return kind is None or kind.kept


def in_metrics(event: Event) -> bool:
    """Whether an event belongs into its stage's metrics.jsonl."""
    kind = KINDS.get(event["event"])
    return kind is not None and kind.to_metrics


def on_board(event: Event) -> bool:
    """Whether TensorBoard is shown an event."""
    kind = KINDS.get(event["event"])
    return kind is not None and kind.to_tensorboard


def flat(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event as metrics.jsonl has it: one flat object. A metric is there by its own name, what
    else is nested by dotted ones; samples, which are texts, are left out."""
    found: dict[str, Any] = {}
    spliced = event.get("metrics")
    whole = {**event, **spliced} if isinstance(spliced, dict) else event
    for key, value in whole.items():
        if key != "metrics" and not (key == "samples" and isinstance(value, list)):
            _add(found, key, value)
    return found


def figures(event: Mapping[str, Any]) -> dict[str, float]:
    """What of an event is a figure to be drawn, by its flat name: numbers that say how much, not
    where (`Says.place`)."""
    known = fields(event["event"])
    places = {"time", "stage", *(name for name, said in known.items() if said.place)}
    return {
        name: float(value)
        for name, value in flat(event).items()
        if name not in places and isinstance(value, (bool, int, float))
    }


def matches(value: Any, wanted: Any) -> bool:
    """Whether a value out of JSON is of a type that kinds.py uses."""
    origin, inner = get_origin(wanted), get_args(wanted)
    if wanted is Any:
        return True
    if origin in (Union, UnionType):
        return any(matches(value, one) for one in inner)
    if origin is Literal:
        return value in inner
    if origin is list:
        return isinstance(value, list) and all(matches(one, inner[0]) for one in value)
    if origin is tuple:
        return (
            isinstance(value, list) and len(value) == len(inner) and all(map(matches, value, inner))
        )
    if origin is dict:
        return isinstance(value, dict) and all(matches(one, inner[1]) for one in value.values())
    if wanted is NoneType:
        return value is None
    if wanted is float:
        return type(value) in (int, float) and math.isfinite(value)
    return type(value) is wanted


def _add(found: dict[str, Any], name: str, value: Any) -> None:
    if isinstance(value, (dict, list)):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in inner:
            _add(found, f"{name}.{key}", part)
    else:
        found[name] = value
