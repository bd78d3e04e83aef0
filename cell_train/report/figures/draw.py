"""The figures of a run: `draw` makes all there are, by the name of their file."""

import itertools
from collections.abc import Callable, Sequence

from cell_train.formatting import gib
from cell_train.report import prose
from cell_train.report.figures import over_stages
from cell_train.report.figures.svg import (
    SMALL,
    WIDE,
    Axis,
    Frame,
    Pair,
    area,
    decades,
    document,
    dot,
    line,
    linear,
    scales,
    text,
)
from cell_train.report.prose import brief
from cell_train.report.run_data.story import Numbers, StageStory

LEVELS, MAX_SIDE = 9, 48  # shades and squares along a side of a heat map


def draw(stages: Sequence[StageStory]) -> dict[str, str]:
    """Every figure the run has data for, as SVG."""
    begun = [stage for stage in stages if stage.points or stage.evaluations]
    figures: dict[str, str | None] = {}
    if begun:
        figures |= {
            "score": over_stages.score(begun),
            "cosine": over_stages.cosine(begun),
            "loss": over_stages.loss(begun),
            "change": over_stages.change(begun),
            "active": over_stages.active(begun),
            "clusters": over_stages.clusters(begun),
            "memory": _predicted("Peak memory", begun, "predicted_bytes", "peak_bytes", gib),
            "time": _predicted("Time", begun, "predicted_seconds", "seconds", prose.seconds),
        }
    for stage in begun:
        figures[f"strengths-{stage.number}"] = strengths(stage)
        figures[f"spectrum-{stage.number}"] = spectrum(stage)
        figures[f"faces-{stage.number}"] = faces(stage)
    return {name: figure for name, figure in figures.items() if figure is not None}


def strengths(stage: StageStory) -> str | None:
    if not stage.strengths:
        return None
    first, last = (stage.strengths[step] for step in (min(stage.strengths), max(stage.strengths)))
    shares = [[count / (sum(one.counts) or 1) for count in one.counts] for one in (first, last)]
    x = linear([last.high], ticks=4, title="strength")
    frame = Frame(SMALL, 130, x, Axis(0, max(map(max, shares)) or 1), left=6, right=6, top=34)
    floor = [(last.low, 0.0), (last.high, 0.0)]
    marks = [
        area(frame, _steps(last.low, last.high, shares[1]), floor, "area"),
        scales(frame),
    ]
    if len(stage.strengths) > 1:
        marks.append(line(frame, _steps(first.low, first.high, shares[0]), "thin"))
    before = f"{_two(first.spread)} → " if first is not last else ""
    told = f"mean {_two(last.mean)}, spread {before}{_two(last.spread)}"
    marks.append(text(0, 25, told, "note"))
    said = f"Strengths before (line) and after (filled) stage {stage.number}: {told}."
    return document(frame, f"Stage {stage.number}", said, *marks)


def _two(value: float | None) -> str:
    return brief(value) if value is None else f"{value:.2g}"


def _steps(low: float, high: float, shares: Sequence[float]) -> list[Pair]:
    """The outline of a histogram."""
    width = (high - low) / len(shares)
    return [
        (low + width * edge, share)
        for index, share in enumerate(shares)
        for edge in (index, index + 1)
    ]


def spectrum(stage: StageStory) -> str | None:
    found = stage.spectrum
    if found is None or not found.power:
        return None
    k = [1 / wavelength for wavelength in found.wavelength]
    marks_at = (16, 8, 4, 3, 2, 1.5)
    shown = [one for one in marks_at if min(k) <= 1 / one <= max(k)]
    ticks = tuple((1 / one, f"{one:g}") for one in shown)
    x = Axis(min(k) * 0.9, max(k) * 1.05, ticks, title="wavelength, cells")
    y = decades([*found.power, *found.null_low, *found.null_high])
    frame = Frame(SMALL, 150, x, y, left=34, right=6, top=38)
    rows = list(zip(k, found.power, found.null_low, found.null_high, strict=True))
    upper, lower = [(x, high) for x, _, _, high in rows], [(x, low) for x, _, low, _ in rows]
    marks = [area(frame, upper, lower, "null"), scales(frame)]
    marks.append(line(frame, [(x, power) for x, power, *_ in rows], "blue"))
    for at, power, low, high in rows:
        outside = not low <= power <= high
        kind, radius = ("orange", 2.5) if outside else ("blue", 1.5)
        marks.append(dot(frame, (at, power), kind, radius))
    marks.append(text(0, 25, prose.wave(stage), "note"))
    said = (
        "Power of the mean-strength field by wavelength, in multiples of white noise; the band"
        f" holds white noise at every wavelength at once in 95 % of lattices. {prose.wave(stage)}"
    )
    return document(frame, f"Stage {stage.number}", said, *marks)


def faces(stage: StageStory) -> str | None:
    cells = stage.lattice
    if cells is None or cells.faces is None:
        return None
    frame = Frame(SMALL, 118, Axis(0, 1), Axis(0, 1))
    marks = []
    for left, label, field in ((0.0, "in", cells.faces[0]), (94.0, "out", cells.faces[1])):
        mean = sum(field) / len(field)
        relative = [value / mean if mean > 1e-30 else 0.0 for value in field]
        low, high = min(relative), max(relative)
        marks.append(_heat(left, 22, 84, cells.dimensions[:2], relative))
        marks.append(text(left, 116, f"{label}: {low:.2f} to {high:.2f}", "note"))
    said = "Norm of what enters and leaves each cell of the two faces, as multiples of its mean."
    return document(frame, f"Stage {stage.number}", said, *marks)


def _heat(left: float, top: float, side: float, shape: Sequence[int], field: Numbers) -> str:
    """A map [X, Y] as squares in LEVELS shades, one path a shade; of large ones every n-th cell."""
    low, high = min(field), max(field)
    stride = -(-max(shape) // MAX_SIDE)
    cell = side / -(-max(shape) // stride)
    paths: dict[int, list[str]] = {}
    for x, y in itertools.product(range(0, shape[0], stride), range(0, shape[1], stride)):
        value = field[x * shape[1] + y]
        level = int((value - low) / ((high - low) or 1) * (LEVELS - 1) + 0.5)
        corner = f"M{left + x // stride * cell:.1f} {top + y // stride * cell:.1f}"
        paths.setdefault(level, []).append(f"{corner}h{cell:.2f}v{cell:.2f}h-{cell:.2f}z")
    return "".join(
        f'<path class="heat" fill-opacity="{0.08 + 0.92 * level / (LEVELS - 1):.2f}"'
        f' d="{"".join(squares)}"/>'
        for level, squares in sorted(paths.items())
    )


def _predicted(
    title: str,
    stages: Sequence[StageStory],
    planned: str,
    found: str,
    say: Callable[[float | None], str],
) -> str | None:
    """A bar a stage for its field `found`, a line for what was planned."""
    rows = [(stage, getattr(stage, planned), getattr(stage, found)) for stage in stages]
    values = [value for _, *pair in rows for value in pair if value is not None]
    if not values:
        return None
    x = Axis(0, max(values) or 1)
    frame = Frame(WIDE, 34 + 26 * len(rows) + 4, x, Axis(0, 1), left=24, right=104, top=34)
    marks = [text(0, 27, "bar: measured, line: planned, in brackets: against plan", "note")]
    for index, (stage, predicted, measured) in enumerate(rows):
        top = frame.top + 26 * index
        marks.append(text(10, top + 14, str(stage.number), "tick middle"))
        if measured is not None:
            width = frame.across(measured) - frame.left
            marks.append(
                f'<rect class="bar" x="{frame.left:g}" y="{top + 3:g}" width="{width:.1f}"'
                ' height="14"/>'
            )
        said = say(measured) if measured is not None else "not yet"
        if predicted is not None:
            marks.append(f'<path class="planned" d="M{frame.across(predicted):g} {top:g}v20"/>')
            said += f" ({prose.off_by(predicted, measured)})" if measured else ""
        marks.append(text(frame.width - frame.right + 8, top + 14, said, "value"))
    said = "; ".join(
        f"stage {stage.number}: {say(measured)} measured, {say(predicted)} planned"
        for stage, predicted, measured in rows
    )
    return document(frame, title, f"{said}.", *marks)
