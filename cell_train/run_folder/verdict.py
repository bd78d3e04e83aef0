"""What a stage's score is worth, in sentences: against the simplest answer, and what limits it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cell_train.config import task_specs
from cell_train.formatting import number

NOISE = 0.01  # of a score between 0 and 1: less is no difference
RISING = 0.02  # gained over the last quarter of a stage's evaluations: it has not stopped learning
HEARD = 0.95  # a decoder that scores less on the exact embedding is what limits it
CARRIED = 0.95  # cosine of what came out with what went in, above which the lattice is no limit
KNOWN = 0.98  # share of held-out words that are in the vocabulary


def verdict(task: str, row: Mapping[str, Any], course: Sequence[float]) -> str | None:
    """One or two sentences on a completed stage's row; None where it has no score.

    `course` are the main metric's values at the stage's evaluations, in order.
    """
    metrics, metric = row.get("metrics") or {}, str(row.get("primary"))
    score = _number(metrics.get(metric))
    if score is None:
        return None
    beside = _beside(task, metric, score, metrics)
    return " ".join((beside, *_limits(metric, score, metrics, course)))


def _number(value: Any) -> float | None:
    return float(value) if number(value) else None


def _beside(task: str, metric: str, score: float, metrics: Mapping[str, Any]) -> str:
    spec = task_specs.of(task)
    simplest = _number(metrics.get(spec.baseline or ""))
    if simplest is None:
        return f"It ends at {metric} {score:.3f}."
    much = score - simplest
    stands = (
        f"no better than the {simplest:.3f}"
        if abs(much) <= NOISE
        else f"{abs(much):.3f} {'above' if much > 0 else 'below'} the {simplest:.3f}"
    )
    return f"It ends at {metric} {score:.3f}, {stands} of {spec.baseline_is}."


def _limits(
    metric: str, score: float, metrics: Mapping[str, Any], course: Sequence[float]
) -> Iterator[str]:
    """What most likely holds the score back, by what was measured, and what to try."""
    if score >= HEARD:
        return
    quarter = max(1, len(course) // 4)
    gained = course[-1] - course[-1 - quarter] if len(course) > quarter else 0.0
    names = ("known_words", f"direct_{metric}", "cosine")
    known, direct, cosine = (_number(metrics.get(name)) for name in names)
    if gained > RISING:
        yield f"It was still rising (+{gained:.3f} at the end): try more epochs or samples."
    elif known is not None and known < KNOWN:
        yield (
            f"{1 - known:.0%} of the held-out words are not in its vocabulary:"
            " more text, or text.vocabulary, would raise it."
        )
    elif direct is not None and cosine is not None and cosine >= CARRIED and direct < HEARD:
        yield (
            f"The lattice carries it (cosine {cosine:.2f}), the decoder does not read it"
            f" ({direct:.2f} on the exact embedding): try text.embedding or text.decoder_hidden."
        )
    elif cosine is not None and cosine < CARRIED:
        yield (
            f"The lattice carries too little (cosine {cosine:.2f}): try more steps, a larger"
            " lattice or lattice.channels."
        )
