"""How a run stands as a whole: the time it still takes, and its course in one line of blocks."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cell_train.events import Event
from cell_train.formatting import number

BLOCKS = "▁▂▃▄▅▆▇█"


def seconds_left(rows: Iterable[Mapping[str, Any]], step: Event) -> float | None:
    """What the run still takes: the stage that runs by its own pace, those to come by the plan's.

    `rows` are plan.json's stages with their status and, where they are done, the seconds they took;
    `step` is the newest step event. The plan's seconds are scaled by how its predictions have
    fared so far. None until the stage that runs has said how long it takes.
    """
    if not number(step.get("seconds_left")):
        return None
    planned, taken, coming = 0.0, 0.0, 0.0
    for row in rows:
        prediction = row.get("planned_seconds") or 0.0
        if row["status"] == "completed" and number(row.get("seconds")):
            planned, taken = planned + prediction, taken + row["seconds"]
        elif row["status"] == "running":
            share = min(1.0, (step.get("step") or 0) / max(step.get("steps") or 1, 1))
            whole = step["seconds_left"] / (1 - share) if share < 1 else prediction
            planned, taken = planned + prediction * share, taken + whole * share
        elif row["status"] == "pending":
            coming += prediction
    factor = taken / planned if planned > 1 and taken > 1 else 1.0
    return float(step["seconds_left"] + coming * factor)


def sparkline(values: Sequence[float], width: int = 24) -> str:
    """The course of `values` as blocks, the newest on the right, each block a mean of several."""
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < 2:
        return ""
    many = min(width, len(finite))
    means = []
    for block in range(many):
        part = finite[len(finite) * block // many : len(finite) * (block + 1) // many]
        means.append(sum(part) / len(part))
    low, high = min(means), max(means)
    scale = (len(BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(BLOCKS[round((value - low) * scale)] for value in means)
