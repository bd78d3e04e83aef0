"""A story in sentences, and numbers as people read them. Plain text: `page` escapes it."""

import math
from collections.abc import Sequence

from cell_train.report.story import StageStory, Story
from cell_train.run.progress import duration, gib, shape

SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
NAMES = {"bleu": "BLEU", "cosine": "cosine", "exact": "exact answers"}
REFERENCES = ("nearest_{}", "chance_{}", "chance")  # metrics that say what knowing nothing scores
REFERENCE_NAMES = {"nearest_bleu": "nearest sentence"}


def brief(value: float | None) -> str:
    """Three digits, as they are written: 0.651, 5.9·10⁻⁴, 12 300."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    size = abs(value)
    if 1e-3 <= size < 1000:
        return f"{value:.3g}" if size >= 1 else f"{value:.3f}"
    if 1000 <= size < 1e7:
        return thousands(value)
    digits, _, power = f"{value:.1e}".partition("e")
    return f"{digits}·10{str(int(power)).translate(SUPERSCRIPT)}"


def thousands(value: float) -> str:
    """12 345, with spaces that do not break."""
    return f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}" if share < 0.1 else f"{share:.0%}"


def primary(stage: StageStory) -> str:
    """The metric a person asks for first."""
    seen = stage.evaluations[-1].metrics if stage.evaluations else {}
    return stage.primary or ("bleu" if "bleu" in seen else next(iter(seen), "bleu"))


def name(metric: str) -> str:
    return NAMES.get(metric, metric.replace("_", " "))


def score(stage: StageStory, metric: str | None = None) -> float | None:
    """A metric (else the primary one) at the stage's last evaluation."""
    if not stage.evaluations:
        return None
    return stage.evaluations[-1].metrics.get(metric or primary(stage))


def reference(stage: StageStory) -> tuple[str, float] | None:
    """(what answers without having learned anything score, its name), where it is known."""
    names = [pattern.format(primary(stage)) for pattern in REFERENCES]
    for evaluation in reversed(stage.evaluations):
        for metric in names:
            if metric in evaluation.metrics:
                shown = REFERENCE_NAMES.get(metric, metric.replace("_", " "))
                return shown, evaluation.metrics[metric]
    return None


def headline(story: Story) -> str:
    """The run in two sentences."""
    begun = [stage for stage in story.stages if stage.status != "pending"]
    if not begun:
        return "Nothing has been trained yet."
    first, last = begun[0], begun[-1]
    done = sum(stage.status == "completed" for stage in begun)
    count = f"{done} of {len(story.stages)} stages" if done < len(story.stages) else _stages(done)
    grew = (
        f"grew the lattice from {shape(first.dimensions)} to {shape(last.dimensions)} cells"
        if first.dimensions != last.dimensions
        else f"trained a lattice of {shape(last.dimensions)} cells"
    )
    sentences = [f"{count.capitalize()} {grew}; {_rise(begun)}."]
    known = reference(last)
    if known is not None:
        sentences.append(f"Knowing nothing ({known[0]}) would score {brief(known[1])}.")
    return " ".join(sentences)


def _rise(stages: Sequence[StageStory]) -> str:
    metric = primary(stages[-1])
    scores = [value for stage in stages if (value := score(stage, metric)) is not None]
    what = f"held-out {name(metric)}"
    if not scores:
        return f"{what} has not been measured yet"
    if len(scores) == 1:
        return f"{what} came to {brief(scores[0])}"
    return f"{what} {_verb(scores[0], scores[-1])} from {brief(scores[0])} to {brief(scores[-1])}"


def _verb(before: float, after: float) -> str:
    return "rose" if after > before else "fell" if after < before else "stayed"


def _stages(count: int) -> str:
    words = ("no", "one", "two", "three", "four", "five", "six")
    word = words[count] if count < len(words) else str(count)
    return f"{word} stage" if count == 1 else f"{word} stages"


def deeds(stage: StageStory, before: StageStory | None) -> list[str]:
    """What a stage did, a sentence each."""
    if stage.status == "pending":
        return [f"Has not begun; {shape(stage.dimensions)} cells are planned."]
    told = [_size(stage), _result(stage, before), _plasticity(stage)]
    if stage.seconds is not None:
        told.append(
            f"It took {duration(stage.seconds)} and at most {gib(stage.peak_bytes)} of memory."
        )
    return [sentence for sentence in told if sentence]


def _size(stage: StageStory) -> str:
    grown = stage.grown_from
    verb = f"Grew the lattice from {shape(grown)} to" if grown else "Trained a lattice of"
    facts = [f"{percent(stage.density)} of the connections kept"]
    if stage.cells and stage.connections:
        kept = "all" if stage.density == 1 else percent(stage.density)
        facts = [
            f"{thousands(stage.cells)} cells",
            f"{thousands(stage.connections)} connections, {kept} of those possible",
        ]
    return f"{verb} {shape(stage.dimensions)}: {' with '.join(facts)}."


def _result(stage: StageStory, before: StageStory | None) -> str:
    metric = primary(stage)
    now, then = score(stage), score(before, metric) if before else None
    if now is None:
        return "It has not been evaluated yet."
    if then is None:
        return f"Held-out {name(metric)} came to {brief(now)}."
    return f"Held-out {name(metric)} {_verb(then, now)} from {brief(then)} to {brief(now)}."


def _plasticity(stage: StageStory) -> str:
    change = stage.mean_change
    if change is None and stage.points:
        change = stage.points[-1].change
    moved = f"a strength moved by {brief(change)} a step" if change else "no strength moved"
    text = f"Under the profile {stage.profile}, {moved}"
    if stage.clusterings:
        last = stage.clusterings[-1]
        text += f"; {last.clusters} clusters hold {percent(1 - last.unassigned)} of the cells"
    return f"{text}."


def wave(stage: StageStory) -> str:
    """What the search for a periodic structure found."""
    found = stage.spectrum
    if found is None:
        return "not analysed yet"
    if not found.tested:
        return found.reason or "not tested"
    periods = shape(found.wavevector) if found.wavevector else "–"
    p = "p < 0.001" if (found.p_value or 0) < 1e-3 else f"p = {found.p_value:.2g}"
    if found.p_value is not None and found.p_value <= 0.01:
        return f"periodic: {periods} waves across, {p}"
    return f"no wave ({p})"


def off_by(predicted: float, measured: float) -> str:
    """How far a prediction was off: +4 %, or ×3 where percents mislead."""
    if predicted <= 0 or measured <= 0:
        return ""
    ratio = measured / predicted
    if 0.5 <= ratio < 2:
        return f"{ratio - 1:+.0%}".replace("-", "−")
    return f"×{ratio:.1f}" if math.isfinite(ratio) else ""
