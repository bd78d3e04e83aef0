"""The figures of a run: `draw` makes all there are, by the name of their file.

Two widths, so that type is as large as the page's where they stand: 360 units for what fills a
phone, 180 for what stands beside its like of the other stages.
"""

from collections.abc import Callable, Iterable, Sequence

from cell_train.report import words
from cell_train.report.story import Numbers, Point, StageStory
from cell_train.report.svg import (
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
from cell_train.report.words import brief
from cell_train.run.progress import duration, gib

WIDE, SMALL = 360, 180
SHARES = Axis(0, 1, tuple((n / 4, f"{n * 25} %") for n in range(5)))
LEVELS = 9  # shades of a heat map


def draw(stages: Sequence[StageStory]) -> dict[str, str]:
    """Every figure the run has data for, as SVG."""
    begun = [stage for stage in stages if stage.points or stage.evaluations]
    figures: dict[str, str | None] = {}
    if begun:
        figures |= {
            "score": score(begun),
            "cosine": cosine(begun),
            "loss": loss(begun),
            "change": change(begun),
            "active": active(begun),
            "clusters": clusters(begun),
            "memory": memory(begun),
            "time": time(begun),
        }
    for stage in begun:
        figures[f"strengths-{stage.number}"] = strengths(stage)
        figures[f"spectrum-{stage.number}"] = spectrum(stage)
        figures[f"faces-{stage.number}"] = faces(stage)
    return {name: figure for name, figure in figures.items() if figure is not None}


def _bands(stages: Sequence[StageStory], y: Axis) -> tuple[Frame, list[str]]:
    """A plot with a band of equal width for each stage, in which x is the share that is done."""
    ticks = tuple((i + 0.5, str(stage.number)) for i, stage in enumerate(stages))
    x = Axis(0, len(stages), ticks, title="stage, each from its first step to its last")
    frame = Frame(WIDE, 210, x, y, left=44, top=44)
    floor = frame.height - frame.bottom
    borders = [
        f'<path class="border" d="M{frame.across(i):g} {frame.top:g}V{floor:g}"/>'
        for i in range(1, len(stages))
    ]
    return frame, [scales(frame), *borders]


def _curves(
    frame: Frame,
    stages: Sequence[StageStory],
    value: Callable[[Point], float | None],
    kind: str = "blue",
) -> list[str]:
    """One line a stage, of what its steps reported."""
    found = [
        [(i + point.at, y) for point in stage.points if (y := value(point)) is not None]
        for i, stage in enumerate(stages)
    ]
    return [line(frame, points, kind) for points in found]


def _measured(stages: Sequence[StageStory], metric: str) -> list[list[Pair]]:
    """Of each stage (place, metric) at its evaluations."""
    return [
        [(i + one.at, one.metrics[metric]) for one in stage.evaluations if metric in one.metrics]
        for i, stage in enumerate(stages)
    ]


def _at_evaluations(frame: Frame, per_stage: Iterable[list[Pair]], joined: bool) -> list[str]:
    """A dot an evaluation, the last of a stage with its value."""
    marks = []
    for points in per_stage:
        if joined:
            marks.append(line(frame, points, "orange"))
        radius = 2.5 if len(points) < 12 else 1.5
        marks += [dot(frame, at, "orange", radius) for at in points]
        if points:
            x, y = points[-1]
            marks.append(dot(frame, (x, y), "orange", 3.5))
            marks.append(
                text(frame.across(x) - 1, frame.up(y) - 7, brief(round(y, 3)), "value end")
            )
    return marks


def score(stages: Sequence[StageStory]) -> str | None:
    metric = words.primary(stages[-1])
    measured = _measured(stages, metric)
    known = [(i, found) for i, stage in enumerate(stages) if (found := words.reference(stage))]
    if not any(measured):
        return None
    values = [y for points in measured for _, y in points] + [found[1] for _, found in known]
    whole = max(values) <= 1 and min(values) >= 0
    name = words.name(metric)
    y = linear([1.0] if whole else values, title=f"{name}, 0 to 1" if whole else name)
    frame, marks = _bands(stages, y)
    for i, (_, value) in known:
        marks.append(line(frame, [(i, value), (i + 1, value)], "dash"))
    if known:
        i, (label, value) = known[0]
        marks.append(text(frame.across(i) + 3, frame.up(value) - 5, label, "note"))
    marks += _at_evaluations(frame, measured, joined=True)
    title = f"{name} on held-out samples"
    return document(frame, title, f"{title} through the stages: {_ends(measured)}.", *marks)


def cosine(stages: Sequence[StageStory]) -> str | None:
    measured = _measured(stages, "cosine")
    values = [p.cosine for stage in stages for p in stage.points if p.cosine is not None]
    if not values and not any(measured):
        return None
    frame, marks = _bands(stages, linear([1.0, *values], title="cosine with the target"))
    marks += _curves(frame, stages, lambda point: point.cosine)
    marks += _at_evaluations(frame, measured, joined=False)
    what = "line: training, dots: held out"
    marks.append(text(frame.width - frame.right, frame.top - 7, what, "note end"))
    title = "Cosine of answer and target"
    return document(frame, title, f"{title}, {what}: {_ends(measured)}.", *marks)


def loss(stages: Sequence[StageStory]) -> str | None:
    values = [p.loss for stage in stages for p in stage.points if p.loss is not None]
    if not values:
        return None
    spread = min(values) > 0 and max(values) / min(values) > 30
    title = "training loss, mean of about 50 steps"
    y = decades(values, title=title) if spread else linear(values, title=title)
    frame, marks = _bands(stages, y)
    marks += _curves(frame, stages, lambda point: point.loss)
    said = f"Training loss from {brief(values[0])} to {brief(values[-1])}."
    return document(frame, "Loss", said, *marks)


def change(stages: Sequence[StageStory]) -> str | None:
    values = [p.change for stage in stages for p in stage.points if p.change]
    if not values:
        return None
    frame, marks = _bands(stages, decades(values, title="mean change of a strength a step"))
    marks += _curves(frame, stages, lambda point: point.change or None)
    for i, stage in enumerate(stages):
        last = stage.points[-1].change if stage.points else None
        if last:
            y = frame.up(last) - 6
            marks.append(text(frame.across(i + 0.5), y, brief(last), "value middle"))
    title = "How much plasticity changes"
    return document(frame, title, "Mean change of a strength a step, by stage.", *marks)


def active(stages: Sequence[StageStory]) -> str | None:
    if not any(p.active is not None for stage in stages for p in stage.points):
        return None
    frame, marks = _bands(stages, Axis(0, 1, SHARES.ticks, title="share that spikes at a tick"))
    marks += _curves(frame, stages, lambda point: point.active)
    return document(frame, "Active cells", "Share of cells that spike at a tick.", *marks)


def clusters(stages: Sequence[StageStory]) -> str | None:
    if not any(stage.clusterings for stage in stages):
        return None
    frame, marks = _bands(stages, SHARES)
    labels = (("cells in a cluster", "orange"), ("explained by depth", "blue"))
    for index, (label, kind) in enumerate(labels):
        drawn: list[Pair] = []
        for i, stage in enumerate(stages):
            points = [
                (i + one.at, value)
                for one in stage.clusterings
                if (value := (1 - one.unassigned, one.depth_information)[index]) is not None
            ]
            marks.append(line(frame, points, kind))
            marks += [dot(frame, at, kind, 1.5) for at in points]
            drawn += points
        if drawn:
            x, y = frame.left + index * 130, frame.top - 8
            marks.append(f'<path class="line {kind}" d="M{x:g} {y - 3:g}h12"/>')
            marks.append(text(x + 16, y, label, "note"))
    said = "Share of the cells that are in a cluster, and how much depth tells of the clusters."
    return document(frame, "Functional clusters", said, *marks)


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
    before = f"{brief(first.spread)} → " if first is not last else ""
    told = f"mean {brief(last.mean)}, spread {before}{brief(last.spread)}"
    marks.append(text(0, 25, told, "note"))
    said = f"Strengths before (line) and after (filled) stage {stage.number}: {told}."
    return document(frame, f"Stage {stage.number}", said, *marks)


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
    frame = Frame(SMALL, 150, x, y, left=30, right=6, top=38)
    rows = list(zip(k, found.power, found.null_low, found.null_high, strict=True))
    upper, lower = [(x, high) for x, _, _, high in rows], [(x, low) for x, _, low, _ in rows]
    marks = [area(frame, upper, lower, "null"), scales(frame)]
    marks.append(line(frame, [(x, power) for x, power, *_ in rows], "blue"))
    for at, power, low, high in rows:
        outside = not low <= power <= high
        marks.append(
            dot(frame, (at, power), "orange" if outside else "blue", 2.5 if outside else 1.5)
        )
    marks.append(text(0, 25, words.wave(stage), "note"))
    said = (
        "Power of the mean-strength field by wavelength, in multiples of white noise; the band"
        f" holds white noise at every wavelength at once in 95 % of lattices. {words.wave(stage)}"
    )
    return document(frame, f"Stage {stage.number}", said, *marks)


def faces(stage: StageStory) -> str | None:
    cells = stage.lattice
    if cells is None or cells.faces is None:
        return None
    frame = Frame(SMALL, 118, Axis(0, 1), Axis(0, 1))
    marks = []
    for left, label, field in ((0.0, "in", cells.faces[0]), (94.0, "out", cells.faces[1])):
        mean = sum(field) / len(field) or 1.0
        relative = [value / mean for value in field]
        low, high = min(relative), max(relative)
        marks.append(_heat(left, 22, 84, cells.dimensions[:2], relative))
        marks.append(text(left, 116, f"{label}: {low:.2f} to {high:.2f}", "note"))
    said = "Norm of what enters and leaves each cell of the two faces, as multiples of its mean."
    return document(frame, f"Stage {stage.number}", said, *marks)


def _heat(left: float, top: float, side: float, shape: Sequence[int], field: Numbers) -> str:
    """A map [X, Y] as squares in LEVELS shades, one path a shade."""
    low, high = min(field), max(field)
    cell = side / max(shape)
    paths: dict[int, list[str]] = {}
    for index, value in enumerate(field):
        x, y = divmod(index, shape[1])
        level = int((value - low) / ((high - low) or 1) * (LEVELS - 1) + 0.5)
        at = f"M{left + x * cell:.1f} {top + y * cell:.1f}h{cell:.2f}v{cell:.2f}h-{cell:.2f}z"
        paths.setdefault(level, []).append(at)
    return "".join(
        f'<path class="heat" fill-opacity="{0.08 + 0.92 * level / (LEVELS - 1):.2f}"'
        f' d="{"".join(squares)}"/>'
        for level, squares in sorted(paths.items())
    )


def memory(stages: Sequence[StageStory]) -> str | None:
    return _predicted(
        "Peak memory",
        [(stage, stage.predicted_bytes, stage.peak_bytes) for stage in stages],
        gib,
    )


def time(stages: Sequence[StageStory]) -> str | None:
    return _predicted(
        "Time",
        [(stage, stage.predicted_seconds, stage.seconds) for stage in stages],
        duration,
    )


def _predicted(
    title: str,
    rows: Sequence[tuple[StageStory, float | None, float | None]],
    say: Callable[[float | None], str],
) -> str | None:
    """A bar a stage for what was measured, a tick for what was predicted."""
    values = [value for _, *pair in rows for value in pair if value is not None]
    if not values:
        return None
    x = Axis(0, max(values) or 1)
    frame = Frame(WIDE, 34 + 26 * len(rows) + 4, x, Axis(0, 1), left=24, right=130, top=34)
    marks = [text(frame.left, 27, "bar: measured, line: planned", "note")]
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
            said += f", planned {say(predicted)}"
        marks.append(text(frame.width - frame.right + 8, top + 14, said, "value"))
    said = "; ".join(
        f"stage {stage.number}: {say(measured)} measured, {say(predicted)} planned"
        for stage, predicted, measured in rows
    )
    return document(frame, title, f"{said}.", *marks)


def _ends(per_stage: Iterable[list[Pair]]) -> str:
    return ", ".join(brief(points[-1][1]) for points in per_stage if points)
