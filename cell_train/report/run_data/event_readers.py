"""What each kind of event adds to the story of its stage."""

from collections.abc import Callable

from cell_train.events import Event
from cell_train.report.run_data.checked import count, listing, mapping, real, reals, shape, text
from cell_train.report.run_data.story import (
    Clustering,
    Emergence,
    Evaluation,
    Histogram,
    Point,
    Spectrum,
    StageStory,
)

MAX_SAMPLES, MAX_WARNINGS = 5, 20


def _started(stage: StageStory, event: Event) -> None:
    """A stage begins or goes on: what lies ahead of where it goes on is told again."""
    stage.steps = count(event.get("steps")) or 1
    stage.grown_from = shape(event.get("grown_from"))
    for name in ("cells", "connections"):
        setattr(stage, name, count(event.get(name)))
    stage.backend = text(event.get("backend"))
    done = (count(event.get("step")) or 0) / stage.steps
    stage.points = [one for one in stage.points if one.at <= done]
    stage.evaluations = [one for one in stage.evaluations if one.at <= done]
    stage.clusterings = [one for one in stage.clusterings if one.at < done]


def _stepped(stage: StageStory, event: Event) -> None:
    names = ("loss", "cosine", "active", "change")
    point = Point(_at(stage, event), *(real(event.get(name)) for name in names))
    if stage.points and point.at < stage.points[-1].at:  # rolled back
        stage.points = [one for one in stage.points if one.at < point.at]
    stage.points.append(point)


def _evaluated(stage: StageStory, event: Event) -> None:
    metrics = _metrics(event.get("metrics"))
    epoch, step = count(event.get("epoch")) or 0, count(event.get("step")) or 0
    stage.evaluations.append(Evaluation(_at(stage, event), epoch, step, metrics))
    samples = listing(event.get("samples"))[:MAX_SAMPLES]
    shown = [tuple(text(part) or "" for part in one) for one in samples if isinstance(one, list)]
    stage.samples = [(one[0], one[1], one[2]) for one in shown if len(one) == 3]


def _metrics(given: object) -> dict[str, float]:
    return {
        text(name, 40) or "": value
        for name, number in list(mapping(given).items())[:20]
        if (value := real(number)) is not None
    }


def _left(stage: StageStory, event: Event) -> None:
    stage.emergence = Emergence(
        real(event.get("lesion")),
        _metrics(event.get("undamaged")),
        _metrics(event.get("damaged")),
        real(event.get("branching_ratio")),
    )


def _spread(stage: StageStory, event: Event) -> None:
    low, high, counts = real(event.get("low")), real(event.get("high")), reals(event, "counts")
    if low is None or high is None or low >= high or not counts or min(counts) < 0:
        return
    step = count(event.get("step")) or 0
    mean, spread = real(event.get("mean")), real(event.get("spread"))
    stage.strengths[step] = Histogram(low, high, counts, mean, spread)
    if len(stage.strengths) > 2:  # the first and the last are told
        del stage.strengths[sorted(stage.strengths)[1]]


def _clustered(stage: StageStory, event: Event) -> None:
    unassigned = real(event.get("unassigned"))
    if unassigned is not None:
        at = (count(event.get("epoch")) or 0) / max(stage.epochs, 1)
        depth, clusters = real(event.get("depth_information")), count(event.get("clusters")) or 0
        stage.clusterings.append(Clustering(min(at, 1.0), clusters, unassigned, depth))


def _analysed(stage: StageStory, event: Event) -> None:
    columns = [reals(event, name) for name in ("wavelength", "power", "null_low", "null_high")]
    if len({len(column) for column in columns}) != 1 or any(w < 1e-9 for w in columns[0]):
        columns = [[], [], [], []]
    stage.spectrum = Spectrum(
        event.get("tested") is True,
        text(event.get("reason")) or "",
        real(event.get("p_value")),
        tuple(int(k) for k in reals(event, "wavevector")) or None,
        *columns,
    )


def _warned(stage: StageStory, event: Event) -> None:
    message = text(event.get("message"))
    if event.get("level") != "info" and message and len(stage.warnings) < MAX_WARNINGS:
        stage.warnings.append(message)


TAKE: dict[str, Callable[[StageStory, Event], None]] = {
    "stage_start": _started,
    "step": _stepped,
    "evaluation": _evaluated,
    "strengths": _spread,
    "clustering": _clustered,
    "spectrum": _analysed,
    "emergence": _left,
    "log": _warned,
    "retry": _warned,
    "failed": _warned,
}


def _at(stage: StageStory, event: Event) -> float:
    return min((count(event.get("step")) or 0) / stage.steps, 1.0)
