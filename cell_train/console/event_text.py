"""Events as lines of text."""

from collections.abc import Mapping
from typing import Any

from cell_train.events import Event
from cell_train.formatting import duration, gib, number, shape, si


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
            said = f"completed in {duration(event.get('seconds'))}: {metrics_text(event)}"
            return f"{said}. {event['verdict']}" if event.get("verdict") else said
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
