"""Figures of how the run went: every stage in a band of its own, side by side."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from cell_train.report import prose
from cell_train.report.figures.svg import (
    WIDE,
    Axis,
    Frame,
    Pair,
    decades,
    document,
    dot,
    line,
    linear,
    scales,
    text,
)
from cell_train.report.prose import brief
from cell_train.report.run_data.story import Point, StageStory

SHARES = Axis(0, 1, tuple((n / 4, f"{n * 25} %") for n in range(5)))


def _bands(stages: Sequence[StageStory], y: Axis) -> tuple[Frame, list[str]]:
    """A plot with a band of equal width for each stage, in which x is the share that is done."""
    ticks = tuple((i + 0.5, str(stage.number)) for i, stage in enumerate(stages))
    x = Axis(0, len(stages), ticks, title="stage, each from its first step to its last")
    frame = Frame(WIDE, 216, x, y, left=44, top=54)
    floor = frame.height - frame.bottom
    borders = [
        f'<path class="border" d="M{frame.across(i):g} {frame.top:g}V{floor:g}"/>'
        for i in range(1, len(stages))
    ]
    return frame, [scales(frame), *borders]


def _curves(
    frame: Frame, stages: Sequence[StageStory], value: Callable[[Point], float | None]
) -> list[str]:
    """One line a stage, of what its steps reported."""
    found = [
        [(i + point.at, y) for point in stage.points if (y := value(point)) is not None]
        for i, stage in enumerate(stages)
    ]
    return [line(frame, points, "blue") for points in found]


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
            clear = -7 if joined else 15  # above its line, or below that of training
            marks.append(_value(frame, x, frame.up(y) + clear, prose.fixed(y)))
    return marks


def _value(frame: Frame, at: float, y: float, said: str) -> str:
    """A value beside a stage's last point: left of it, unless the stage has hardly begun."""
    early = 0 < at % 1 < 0.5
    if not early:
        return text(frame.across(at) - 1, y, said, "value end")
    room = frame.width - 5.8 * len(said)
    return text(min(frame.across(at) + 5, room), y, said, "value")


def score(stages: Sequence[StageStory]) -> str | None:
    metric = prose.primary(stages[-1])
    measured = _measured(stages, metric)
    known = [(i, found) for i, stage in enumerate(stages) if (found := prose.reference(stage))]
    if not any(measured):
        return None
    values = [y for points in measured for _, y in points] + [found[1] for _, found in known]
    whole = max(values) <= 1 and min(values) >= 0
    name = prose.name(metric)
    y = linear([1.0] if whole else values, title=f"{name}, 0 to 1" if whole else name)
    frame, marks = _bands(stages, y)
    for i, (_, value) in known:
        marks.append(line(frame, [(i, value), (i + 1, value)], "dash"))
    if known:
        what = f"dashed: {known[-1][1][0]}"
        marks.append(text(frame.width - frame.right, frame.top - 26, what, "note end"))
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
    marks.append(text(frame.width - frame.right, frame.top - 26, what, "note end"))
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
            fell = last < (stage.points[0].change or 0)
            y = frame.up(last) + (12 if fell else -6)
            marks.append(_value(frame, i + stage.points[-1].at, y, brief(last)))
    title = "How much plasticity changes"
    return document(frame, title, "Mean change of a strength a step, by stage.", *marks)


def active(stages: Sequence[StageStory]) -> str | None:
    if not any(p.active is not None for stage in stages for p in stage.points):
        return None
    frame, marks = _bands(stages, replace(SHARES, title="share that spikes at a tick"))
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
            x, y = frame.left + index * 130, frame.top - 24
            marks.append(f'<path class="line {kind}" d="M{x:g} {y - 3:g}h12"/>')
            marks.append(text(x + 16, y, label, "note"))
    said = "Share of the cells that are in a cluster, and how much depth tells of the clusters."
    return document(frame, "Functional clusters", said, *marks)


def _ends(per_stage: Iterable[list[Pair]]) -> str:
    return ", ".join(brief(points[-1][1]) for points in per_stage if points)
