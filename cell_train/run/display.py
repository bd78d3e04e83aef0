"""The live display: the stages, the current one, and a sentence that went through the lattice.

User text (sentences, descriptions, messages) is put in `Text`, which knows no markup.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cell_train.events import Event
from cell_train.run.progress import View, duration, epoch, gib, number, shape, si

MARKS = {
    "pending": ("·", "dim"),
    "running": ("▶", "cyan"),
    "completed": ("✓", "green"),
    "failed": ("✗", "red"),
    "interrupted": ("■", "yellow"),
}


@dataclass
class Picture:
    """All the display shows, as events have left it."""

    rows: dict[int, dict[str, Any]]
    current: int | None = None
    step: Event = field(default_factory=dict)
    clusters: int | None = None
    samples: list[list[str]] = field(default_factory=list)


@contextlib.contextmanager
def live(stages: Sequence[Mapping[str, Any]], stream: TextIO) -> Iterator[View]:
    """A display that redraws four times a second; warnings appear above it."""
    console = Console(file=stream, force_terminal=True)
    picture = Picture({stage["stage"]: {**stage, "status": "pending"} for stage in stages})
    with Live(
        console=console,
        refresh_per_second=4,
        transient=True,  # the summary table takes its place
        get_renderable=lambda: render(picture),
    ):

        def view(event: Event) -> None:
            advance(picture, event)
            if event["event"] in ("log", "retry") and event.get("level") != "info":
                console.print(Text(f"stage {event['stage']}: {event.get('message')}", "yellow"))

        yield view


def advance(picture: Picture, event: Event) -> None:
    """Take an event into the picture."""
    row = picture.rows.get(event["stage"])
    if row is None:
        return
    match event["event"]:
        case "stage_start":
            row["status"] = "running"
            picture.current, picture.step, picture.clusters = event["stage"], event, None
        case "step":
            picture.step = event
        case "clustering":
            picture.clusters = event.get("clusters")
        case "evaluation":
            row["metrics"] = event.get("metrics") or {}
            picture.samples = event.get("samples") or picture.samples
        case "stage_done":
            row.update(event)
            row["event"] = None
            picture.current = None
        case "failed":
            row["status"] = "failed"


def render(picture: Picture) -> RenderableType:
    """The display as it stands."""
    parts: list[RenderableType] = [stage_table(list(picture.rows.values()))]
    if picture.current is not None:
        parts.append(_current(picture, picture.rows[picture.current]))
    if picture.samples:
        parts.append(_sample(picture.samples[0]))
    return Group(*parts)


def stage_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """One line a stage, of plan rows or summary rows alike."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    table.add_column("stage", justify="right", no_wrap=True)
    for heading in ("lattice", "plasticity"):
        table.add_column(heading, no_wrap=True)
    for heading in ("kept", "score", "cosine", "clusters", "peak", "time"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        mark, style = MARKS[row["status"]]
        metrics = row.get("metrics") or {}
        name = row.get("primary") or next(iter(metrics), None)
        score = f"{name} {metrics[name]:.3f}" if name and number(metrics.get(name)) else "-"
        cosine = metrics.get("cosine")
        table.add_row(
            Text(mark, style),
            str(row["stage"]),
            shape(row["dimensions"]),
            Text(str(row["plasticity_profile"])),
            f"{row['connection_density']:.2g}",
            Text(score),
            f"{cosine:.3f}" if number(cosine) else "-",
            str(row["clusters"]) if number(row.get("clusters")) else "-",
            gib(row.get("peak_bytes")),
            duration(row["seconds"] if row["status"] == "completed" else None),
        )
    return table


def _current(picture: Picture, row: Mapping[str, Any]) -> Panel:
    """The stage that runs: how far, how well, how fast, how much memory."""
    step = picture.step
    done, steps = step.get("step") or 0, step.get("steps") or 1
    head = Table.grid(padding=(0, 1))
    head.add_row(
        f"epoch {epoch(step)}/{row['epochs']}",
        f"step {done}/{steps}",
        ProgressBar(total=steps, completed=done, width=30),
        f"{duration(step.get('seconds_left'))} left",
    )
    facts = Table.grid(padding=(0, 3))
    facts.add_row(
        f"loss {_rounded(step.get('loss'))}",
        f"cosine {_rounded(step.get('cosine'))}",
        f"clusters {'-' if picture.clusters is None else picture.clusters}",
        f"active {_share(step.get('active'))}",
    )
    speed: Any = step.get("cells_per_second")
    rate = f"{si(speed)}cell-steps/s" if number(speed) else "-"
    memory = f"memory {gib(step.get('memory_bytes'))} of {gib(row.get('budget_bytes'))}"
    title = Text(f"stage {row['stage']}: {row['description']}")
    return Panel(
        Group(head, facts, Text(f"{rate}   {memory}")),
        title=title,
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
