"""Showing a run while it goes on: a live display on a terminal, plain lines elsewhere."""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TextIO

from cell_train.events import Event

View = Callable[[Event], None]
INTERVAL = 10.0  # seconds between plain lines


def mode(wanted: str, stream: TextIO, environment: Mapping[str, str] = os.environ) -> str:
    """live, plain or none; `auto` is live only where a person looks on.

    CI=true is set on terminals nobody sees.
    """
    if wanted != "auto":
        return wanted
    watched = stream.isatty() and environment.get("TERM") != "dumb"
    in_ci = environment.get("CI", "").lower() not in ("", "0", "false")
    return "live" if watched and not in_ci else "plain"


@contextlib.contextmanager
def showing(
    how: str,
    stages: Sequence[Mapping[str, Any]],
    stream: TextIO = sys.stderr,
    verbose: bool = False,
) -> Iterator[View]:
    """A view of the stages of plan.json; what it shows goes to `stream`."""
    stages = printable(stages)
    if how == "live":
        from cell_train.run import display

        with display.live(stages, stream, verbose) as view:
            yield lambda event: view(printable(event))
    elif how == "plain":
        view = plain(stages, stream, verbose=verbose)
        yield lambda event: view(printable(event))
    else:
        yield lambda event: None


def plain(
    stages: Sequence[Mapping[str, Any]],
    stream: TextIO,
    interval: float = INTERVAL,
    clock: Callable[[], float] = time.monotonic,
    verbose: bool = False,
) -> View:
    """One line at intervals, and one for whatever happens once."""
    budgets = {stage["stage"]: stage["budget_bytes"] for stage in stages}
    epochs = {stage["stage"]: stage["epochs"] for stage in stages}
    last = -interval  # when the latest step was shown

    def view(event: Event) -> None:
        nonlocal last
        number = event["stage"]
        text: str | None
        if event["event"] == "step":
            if clock() - last < interval:
                return
            last = clock()
            text = step_text(event, epochs.get(number), budgets.get(number))
        else:
            text = told(event, verbose) or once_text(event)
        if text:
            print(f"stage {number}: {text}", file=stream, flush=True)

    return view


def told(event: Event, verbose: bool) -> str | None:
    """What a message says, or None for other events and for what only `verbose` shows."""
    if event["event"] in ("log", "retry") and (verbose or event.get("level") != "info"):
        return str(event.get("message"))
    return None


def step_text(event: Event, epochs: int | None, budget: int | None) -> str:
    """What a step event says, as one line."""
    parts = [
        f"epoch {epoch(event)}/{epochs}",
        f"step {event.get('step')}/{event.get('steps')}",
        *(f"{name} {event[name]:.4f}" for name in ("loss", "cosine") if number(event.get(name))),
    ]
    if number(event.get("cells_per_second")):
        parts.append(f"{si(event['cells_per_second'])}cell-steps/s")
    if number(event.get("active")):
        parts.append(f"active {event['active']:.1%}")
    if number(event.get("memory_bytes")):
        of = f" of {gib(budget)}" if budget else ""
        parts.append(f"memory {gib(event['memory_bytes'])}{of}")
    if number(event.get("seconds_left")):
        parts.append(f"{duration(event['seconds_left'])} left")
    return "  ".join(parts)


def once_text(event: Event) -> str | None:
    """What any other event says, or None where a line would tell nobody anything."""
    match event["event"]:
        case "stage_start":
            grown = event.get("grown_from")
            origin = f", grown from {shape(grown)}" if grown else ""
            return f"starts, {shape(event.get('dimensions'))} cells{origin}"
        case "evaluation":
            return f"epoch {epoch(event)} evaluated: {metrics_text(event)}"
        case "clustering":
            unassigned = event.get("unassigned")
            share = f", {unassigned:.0%} of cells in none" if number(unassigned) else ""
            return f"{event.get('clusters')} clusters{share}"
        case "stage_done":
            return f"completed in {duration(event.get('seconds'))}: {metrics_text(event)}"
    return None


def metrics_text(event: Mapping[str, Any]) -> str:
    """Metrics, and a sentence beside what came back of it."""
    metrics = event.get("metrics") or {}
    text = " ".join(f"{name} {value:.3f}" for name, value in metrics.items() if number(value))
    for sample in (event.get("samples") if isinstance(event.get("samples"), list) else None) or []:
        return f"{text}  {sample[1]!r} came back as {sample[2]!r}"
    return text or "no metrics"


def epoch(event: Mapping[str, Any]) -> str:
    """The epoch as people count, from 1; events count from 0."""
    return str(event["epoch"] + 1) if number(event.get("epoch")) else "-"


def number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def shape(dimensions: Sequence[int] | None) -> str:
    return "×".join(str(cells) for cells in dimensions) if dimensions else "-"


def gib(size: float | None) -> str:
    """Bytes for people."""
    if size is None:
        return "-"
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def si(value: float) -> str:
    """A rate for people: 1.2 M."""
    for factor, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= factor:
            return f"{value / factor:.1f}{letter}"
    return f"{value:.0f} "


def duration(seconds: float | None) -> str:
    """Seconds for people: 45s, 3m20s, 2h05m."""
    if seconds is None:
        return "-"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


CONTROLS = {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\n\t"}
CONTROLS |= dict.fromkeys(range(0x7F, 0xA0), "\ufffd")


def printable(value: Any) -> Any:
    """The same with control characters made visible in every text: none may steer a terminal."""
    if isinstance(value, str):
        return value.translate(CONTROLS)
    if isinstance(value, Mapping):
        return {key: printable(inner) for key, inner in value.items()}
    return [printable(inner) for inner in value] if isinstance(value, (list, tuple)) else value
