"""Training for as long as asked: memory, descriptors and threads must stay, and so must speed."""

import json
import statistics
from typing import Any

from . import ground
from .ground import Score, Trials

WARM_UP = 0.2  # share of the time that is not looked at
EVERY = 8  # steps between two looks
LEAK = 1.0  # MiB an hour for each GiB in use, at most
SLOWER = 1.02  # of the start, at most, relative to the reference kernel
LIVE_FROM = 0.15  # hours a run must last before live memory is judged: caches fill at first
RESIDENT_FROM = 2.0  # hours a run must last before resident memory is judged
SPEED_FROM = 0.5  # hours before speed is
WORDS = (
    "task=faults.naughty:Naughty",
    "lattice.backend=auto",
    "lattice.dimensions=[8,8,8]",
    "epochs=1000000",
    "training.checkpoint_every=5",
    "monitor.log_every=5",
)


def fault(given: Trials) -> Score:
    """One run of `hours`, ended by its time limit."""
    score, watched = Score(), given.folder / "watched.jsonl"
    orders = {"watch": str(watched), "every": EVERY}
    words = ground.run_words(given.text, "1", *WORDS, "--timeout", str(given.hours * 3600))
    process = ground.start(given.folder, *words, environment=ground.naughty(orders))
    ended = ground.finish(process, given.hours * 3600 + 60)
    wrong = ended.wrong((124,))
    looks = watched.read_text().splitlines() if watched.exists() else []
    records = [json.loads(line) for line in looks[1:]]
    records = records[int(len(records) * WARM_UP) :]
    if len(records) < 10:
        wrong.append(f"only {len(records)} looks")
    else:
        score.notes = _figures(records)
        wrong += _judge(score.notes, given.hours)
    score.judge(f"{given.hours:g} h", wrong + ground.left_over(given.folder))
    return score


def _figures(records: list[dict[str, Any]]) -> dict[str, Any]:
    hours = [(record["time"] - records[0]["time"]) / 3600 for record in records]
    fifth = len(records) // 5
    relative = [record["seconds"] / record["reference"] for record in records]
    start, end = statistics.median(relative[:fifth]), statistics.median(relative[-fifth:])
    in_use = statistics.mean(record["live"] for record in records) / 2**30
    slopes = {
        f"{name}_mib_per_hour": _slope(hours, [record[name] / 2**20 for record in records])
        for name in ("live", "resident")
    }
    low, high = slopes["live_mib_per_hour"]
    return {
        "samples": len(records),
        "hours_watched": round(hours[-1], 3),
        "live_gib": round(in_use, 3),
        "live_mib_per_hour_per_gib": [round(low / in_use, 2), round(high / in_use, 2)],
        **slopes,
        "descriptors": [min(r["descriptors"] for r in records), records[-1]["descriptors"]],
        "threads": [min(r["threads"] for r in records), records[-1]["threads"]],
        "time_relative_to_start": round(end / start, 4),
    }


def _judge(found: dict[str, Any], hours: float) -> list[str]:
    """A slope is held against a run when its whole interval lies beyond what is allowed."""
    wrong = []
    if hours >= LIVE_FROM and found["live_mib_per_hour_per_gib"][0] > LEAK:
        wrong.append("live memory grows")
    if hours >= RESIDENT_FROM and found["resident_mib_per_hour"][0] > LEAK:
        wrong.append("resident memory grows")
    wrong += [
        f"{name} grow" for name in ("descriptors", "threads") if found[name][1] > found[name][0]
    ]
    if hours >= SPEED_FROM and found["time_relative_to_start"] > SLOWER:
        wrong.append("it has become slower")
    return wrong


def _slope(x: list[float], y: list[float]) -> list[float]:
    """95 % interval of a line's slope; looks are thinned to a hundred means, which hardly
    depend on one another."""
    size = max(len(x) // 100, 1)
    x, y = ([statistics.mean(v[i : i + size]) for i in range(0, len(v), size)] for v in (x, y))
    slope, intercept = statistics.linear_regression(x, y)
    rest = [b - intercept - slope * a for a, b in zip(x, y, strict=True)]
    spread = sum((a - statistics.mean(x)) ** 2 for a in x)
    error = (sum(r * r for r in rest) / max(len(x) - 2, 1) / spread) ** 0.5
    return [round(slope - 1.96 * error, 3), round(slope + 1.96 * error, 3)]
