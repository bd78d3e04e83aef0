"""The live display: the stages, the current one, and a sentence that went through the lattice.

User text (sentences, descriptions, messages) is put in `Text`, which knows no markup.
"""

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TextIO

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cell_train.console.event_text import epoch, told
from cell_train.console.outlook import seconds_left, sparkline
from cell_train.console.terminal import Screen
from cell_train.events import Event, View
from cell_train.formatting import duration, gib, number, shape, si

MARKS = {
    "pending": ("·", "dim"),
    "running": ("▶", "cyan"),
    "completed": ("✓", "green"),
    "failed": ("✗", "red"),
    "interrupted": ("■", "yellow"),
}


LEFT_OUT = ("kept", "clusters", "cosine", "plasticity", "peak", "lattice", "time")  # when narrow


@dataclass
class Picture:
    """All the display shows, as events have left it."""

    rows: dict[int, dict[str, Any]]
    name: str = ""  # of the run
    began: float | None = None  # Unix seconds of the first event
    current: int | None = None
    step: Event = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)  # of the stage that runs
    scores: list[float] = field(default_factory=list)  # its evaluations, by the metric shown first
    clusters: int | None = None
    samples: list[list[str]] = field(default_factory=list)


@contextlib.contextmanager
def live(
    stages: Sequence[Mapping[str, Any]], stream: TextIO, verbose: bool = False, name: str = ""
) -> Iterator[View]:
    """A display redrawn in place; warnings appear above it, all messages when `verbose`."""
    picture = Picture({stage["stage"]: pending(stage) for stage in stages}, name)
    console = Console(file=stream, force_terminal=True, highlight=False)
    with Screen(console, lambda width: render(picture, width)).showing() as screen:

        def view(event: Event) -> None:
            with screen.lock:
                advance(picture, event)
            message = told(event, verbose)
            if event["event"] == "stage_done" and event.get("verdict"):
                screen.say(Text(f"stage {event['stage']}: {event['verdict']}"))
            if message is not None:
                style = "dim" if event.get("level") == "info" else "yellow"
                screen.say(Text(f"stage {event['stage']}: {message}", style))

        yield view


def pending(stage: Mapping[str, Any]) -> dict[str, Any]:
    """The row of a stage that is to come, from its entry of plan.json."""
    return {**stage, "status": "pending", "planned_seconds": stage.get("seconds")}


def advance(picture: Picture, event: Event) -> None:
    """Take an event into the picture."""
    if picture.began is None and number(event.get("time")):
        picture.began = event["time"]
    row = picture.rows.get(event["stage"])
    if row is None:
        return
    match event["event"]:
        case "stage_start":
            row["status"] = "running"
            picture.current, picture.step, picture.clusters = event["stage"], event, None
            picture.losses, picture.scores = [], []
        case "step":
            picture.step = event
            if number(event.get("loss")):
                picture.losses.append(event["loss"])
        case "clustering":
            picture.clusters = event.get("clusters")
        case "evaluation":
            row["metrics"] = event.get("metrics") or {}
            picture.scores += [row["metrics"][name] for name in [_primary(row)] if name]
            picture.samples = event.get("samples") or picture.samples
        case "stage_done":
            row.update(event)
            row["event"] = None
            picture.current = None
        case "failed":
            row["status"] = "failed"


def render(picture: Picture, width: int) -> RenderableType:
    """The display as it stands, for so many columns."""
    parts: list[RenderableType] = [_head(picture), stage_table([*picture.rows.values()], width)]
    if picture.current is not None:
        parts.append(_current(picture, picture.rows[picture.current], width))
    elif starting := _starting(picture.rows.values()):
        parts.append(Text(f"stage {starting} is starting: its worker loads PyTorch", "dim"))
    if picture.samples:
        parts.append(_sample(picture.samples[0]))
    return Group(*parts)


def _head(picture: Picture) -> Text:
    """The run's name, how long it has run and how long it still takes."""
    words = [picture.name]
    if picture.began is not None:
        words.append(f"{duration(max(0.0, time.time() - picture.began))} elapsed")
    left = seconds_left(picture.rows.values(), picture.step) if picture.current else None
    if left is not None:
        words.append(f"about {duration(left)} left of all stages")
    return Text("   ".join(word for word in words if word), "dim")


def _starting(rows: Iterable[Mapping[str, Any]]) -> int | None:
    """The stage whose worker is on its way: loading torch takes seconds."""
    if any(row["status"] == "failed" for row in rows):
        return None
    return next((row["stage"] for row in rows if row["status"] == "pending"), None)


def stage_table(rows: Sequence[Mapping[str, Any]], width: int | None = None) -> Table:
    """One line a stage, of plan rows or summary rows alike.

    Where `width` is too narrow, columns that matter less are left out.
    """
    lines = [_stage_line(row) for row in rows]
    shown = list(lines[0])
    for name in (*LEFT_OUT, None):
        widths = [max(len(name), *(len(line[name]) for line in lines)) for name in shown]
        if name is None or width is None or sum(widths) + len(widths) <= width:
            break
        shown.remove(name)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name in shown:
        left = name in ("lattice", "plasticity")
        table.add_column(name, justify="left" if left else "right", no_wrap=True)
    for line in lines:
        table.add_row(*(line[name] for name in shown))
    return table


def _stage_line(row: Mapping[str, Any]) -> dict[str, Text]:
    """The cells of a stage by their headings."""
    metrics, name = row.get("metrics") or {}, _primary(row)
    score = f"{name} {metrics[name]:.3f}" if name else "-"
    cosine = metrics.get("cosine")
    cells = {
        "stage": str(row["stage"]),
        "lattice": shape(row["dimensions"]),
        "plasticity": str(row["plasticity_profile"]),
        "kept": f"{row['connection_density']:.2g}",
        "score": score,
        "cosine": f"{cosine:.3f}" if number(cosine) else "-",
        "clusters": str(row["clusters"]) if number(row.get("clusters")) else "-",
        "peak": gib(row.get("peak_bytes")),
        "time": duration(row.get("seconds") if row["status"] == "completed" else None),
    }
    return {"": Text(*MARKS[row["status"]])} | {key: Text(text) for key, text in cells.items()}


def _primary(row: Mapping[str, Any]) -> str | None:
    """The metric shown first, where the row has a number for it."""
    metrics = row.get("metrics") or {}
    name = row.get("primary") or next(iter(metrics), None)
    return name if name and number(metrics.get(name)) else None


def _current(picture: Picture, row: Mapping[str, Any], width: int) -> Panel:
    """The stage that runs: how far, how well, how fast, how much memory."""
    step = picture.step
    done, steps = step.get("step") or 0, step.get("steps") or 1
    words = [f"epoch {epoch(step)}/{row['epochs']}", f"step {done}/{steps}"]
    left = f"{duration(step.get('seconds_left'))} left"
    bar = width - len(" ".join((*words, left))) - 7  # the frame, and a space on either side
    head = Table.grid(padding=(0, 1))
    if bar > 9:
        head.add_row(*words, ProgressBar(total=steps, completed=done, width=min(bar, 30)), left)
    else:
        head.add_row(*words, left)
    facts = (
        f"loss {_rounded(step.get('loss'))}",
        f"cosine {_rounded(step.get('cosine'))}",
        f"clusters {'-' if picture.clusters is None else picture.clusters}",
        f"active {_share(step.get('active'))}",
    )
    speed: Any = step.get("cells_per_second")
    rate = f"{si(speed)}cell-steps/s" if number(speed) else "-"
    memory = f"memory {gib(step.get('memory_bytes'))} of {gib(row.get('budget_bytes'))}"
    courses = [
        f"{name} {line}"
        for name, values in (("loss", picture.losses), (_primary(row), picture.scores))
        if (line := sparkline(values, max(4, (width - 30) // 2)))
    ]
    lines = ["   ".join(facts), *(["   ".join(courses)] if courses else []), f"{rate}   {memory}"]
    return Panel(
        Group(head, *map(Text, lines)),
        title=Text(f"stage {row['stage']}: {row['description']}"),
        title_align="left",
        border_style="cyan",
        expand=False,
    )


def _sample(sample: Sequence[str]) -> Table:
    """A held-out sentence beside what came back out of the lattice."""
    _, target, output = sample
    table = Table.grid(padding=(0, 1))
    table.add_row(Text("held out", "dim"), Text(target))
    table.add_row(Text("came back", "dim"), Text(output, "green" if output == target else ""))
    return table


def _rounded(value: Any) -> str:
    return f"{value:.4f}" if number(value) else "-"


def _share(value: Any) -> str:
    return f"{value:.1%}" if number(value) else "-"
