"""A story in sentences, and numbers as people read them. Plain text: `page` escapes it."""

from collections.abc import Sequence

from cell_train.formatting import duration, gib, shape
from cell_train.report.run_data.story import StageStory, Story

SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
WRITTEN = {"bleu": "BLEU", "iou": "IoU", "mse": "MSE"}  # words of metrics that are no words
CROWDED = 0.1  # share of strengths at the ends of their range that is worth a word
REFERENCES = {  # metrics that say what answering without a lattice scores
    "nearest_{}": "the nearest training sentence",
    "hopfield_{}": "a Hopfield network on the same neighbours",
    "chance_{}": "chance",
    "chance": "chance",
}


def brief(value: float | None) -> str:
    """Three digits, as people write them: 0.651, 5.9·10⁻⁴, 12 300."""
    if value is None:
        return "–"
    if value == 0 or 1e-3 <= abs(value) < 1000:
        return f"{value:.3g}"
    if 1000 <= abs(value) < 1e7:
        return thousands(value)
    digits, _, power = f"{value:.1e}".partition("e")
    return f"{digits}·10{str(int(power)).translate(SUPERSCRIPT)}"


def fixed(value: float | None) -> str:
    """A score, which three decimals are enough for."""
    return brief(value) if value is None or abs(value) >= 1000 else f"{value:.3f}"


def seconds(value: float | None) -> str:
    """As `duration` says it, but with a decimal where that matters."""
    return f"{value:.1f}s" if value is not None and value < 10 else duration(value)


def thousands(value: float) -> str:
    """12 345, with spaces that do not break."""
    return f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def percent(share: float | None) -> str:
    if share is None:
        return "–"
    return f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"


def primary(stage: StageStory) -> str:
    """The metric a person asks for first."""
    seen = stage.evaluations[-1].metrics if stage.evaluations else {}
    return stage.primary or ("bleu" if "bleu" in seen else next(iter(seen), "bleu"))


def name(metric: str) -> str:
    words = (WRITTEN.get(word, word) for word in metric.split("_"))
    return " ".join(words)


def score(stage: StageStory, metric: str | None = None) -> float | None:
    """A metric (else the primary one) at the stage's last evaluation."""
    if not stage.evaluations:
        return None
    return stage.evaluations[-1].metrics.get(metric or primary(stage))


def reference(stage: StageStory) -> tuple[str, float] | None:
    """(who answers without a lattice, what that scores), where it was measured."""
    for evaluation in reversed(stage.evaluations):
        for pattern, who in REFERENCES.items():
            value = evaluation.metrics.get(pattern.format(primary(stage)))
            if value is not None:
                return who, value
    return None


def headline(story: Story) -> str:
    """The run in a sentence."""
    begun = [stage for stage in story.stages if stage.status != "pending"]
    if not begun:
        return "Nothing has been trained yet."
    first, last = begun[0], begun[-1]
    done = sum(stage.status == "completed" for stage in begun)
    every = _stages(len(story.stages))
    opening = every if done == len(story.stages) else f"{_number(done)} of {every}"
    opening = f"{opening.capitalize()} done; the lattice"
    grew = f"grew from {shape(first.dimensions)} to {shape(last.dimensions)} cells"
    kept = f"has {shape(last.dimensions)} cells"
    sentence = f"{opening} {kept if first.dimensions == last.dimensions else grew}"
    known = next(filter(None, map(reference, reversed(begun))), None)
    beside = f" ({known[0]} would score {fixed(known[1])})" if known else ""
    return f"{sentence}, and {_rise(begun)}{beside}."


def _rise(stages: Sequence[StageStory]) -> str:
    metric = primary(stages[-1])
    scores = [value for stage in stages if (value := score(stage, metric)) is not None]
    what = f"held-out {name(metric)}"
    if not scores:
        return f"{what} has not been measured yet"
    if len(scores) == 1:
        return f"{what} came to {fixed(scores[0])}"
    return f"{what} {_went(scores[0], scores[-1])}"


def _went(before: float, after: float) -> str:
    then, now = fixed(before), fixed(after)
    if then == now:
        return f"stayed at {now}"
    return f"{'rose' if after > before else 'fell'} from {then} to {now}"


def _stages(count: int) -> str:
    return f"{_number(count)} stage{'' if count == 1 else 's'}"


def _number(count: int) -> str:
    words = ("none", "one", "two", "three", "four", "five", "six")
    return words[count] if count < len(words) else str(count)


def deeds(stage: StageStory, before: StageStory | None) -> list[str]:
    """What a stage did, a sentence each."""
    if stage.status == "pending":
        return [f"Has not begun; {shape(stage.dimensions)} cells are planned."]
    told = [_size(stage), _result(stage, before), _plasticity(stage), _left_alone(stage)]
    if stage.seconds is not None:
        seen = f" for {thousands(stage.samples_seen)} samples" if stage.samples_seen else ""
        told.append(
            f"It took {seconds(stage.seconds)} and at most {gib(stage.peak_bytes)} of memory{seen}."
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
        return f"Held-out {name(metric)} came to {fixed(now)}."
    return f"Held-out {name(metric)} {_went(then, now)}."


def _plasticity(stage: StageStory) -> str:
    change = stage.mean_change
    if change is None and stage.points:
        change = stage.points[-1].change
    moved = f"a strength moved by {brief(change)} a step" if change else "no strength moved"
    text = f"Under the profile {stage.profile}, {moved}"
    if stage.clusterings:
        last = stage.clusterings[-1]
        groups = "1 cluster holds" if last.clusters == 1 else f"{last.clusters} clusters hold"
        text += f"; {groups} {percent(1 - last.unassigned)} of the cells"
    ends = at_ends(stage)
    if ends is not None and ends > CROWDED:
        text += f"; {percent(ends)} of the strengths lie at an end of their range"
    return f"{text}."


def _left_alone(stage: StageStory) -> str:
    """What the lattice does with cells silenced, and without input."""
    found, metric, told = stage.emergence, primary(stage), []
    if found is None:
        return ""
    whole, hurt = found.undamaged.get(metric), found.damaged.get(metric)
    if found.lesion and whole is not None and hurt is not None:
        silenced = f"with a sphere of {percent(found.lesion)} of the cells silenced"
        told.append(f"{silenced} {name(metric)} {_went(whole, hurt)}")
    if found.branching_ratio is not None:
        ratio = f"{found.branching_ratio:.2f}"
        told.append(f"without input a tick's activity is {ratio} of that of the tick before")
    text = "; ".join(told)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def at_ends(stage: StageStory) -> float | None:
    """The share of strengths in the lowest and the highest bin, when last looked at."""
    if not stage.strengths:
        return None
    counts = stage.strengths[max(stage.strengths)].counts
    return (counts[0] + counts[-1]) / (sum(counts) or 1)


def wave(stage: StageStory) -> str:
    """What the search for a periodic structure found."""
    found = stage.spectrum
    if found is None:
        return "not analysed yet"
    if not found.tested:
        return "too small to test" if "too small" in found.reason else "not tested"
    p = "p < 0.001" if (found.p_value or 0) < 1e-3 else f"p = {found.p_value:.2g}"
    if found.p_value is not None and found.p_value <= 0.01:
        return f"wave {found.wavevector}, {p}"
    return f"no wave ({p})"


def off_by(predicted: float, measured: float) -> str:
    """How far a prediction was off: +4 %, or ×3 where percents mislead."""
    if predicted < 1e-9 or measured <= 0:
        return ""
    ratio = measured / predicted
    if abs(ratio - 1) < 0.005:
        return "±0%"
    if 0.5 <= ratio < 2:
        return f"{ratio - 1:+.0%}".replace("-", "−")
    return f"×{ratio:.1f}"
