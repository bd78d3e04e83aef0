"""What is said of a score: against the simplest answer, and what limits it."""

import json
from pathlib import Path
from typing import Any

import pytest

from cell_train.run_folder import tail
from cell_train.run_folder.verdict import verdict

RISING = [0.1, 0.2, 0.3, 0.4]
FLAT = [0.1, 0.39, 0.4, 0.4]


def row(**metrics: float) -> dict[str, Any]:
    return {"primary": "bleu", "metrics": metrics}


@pytest.mark.parametrize(
    ("metrics", "course", "says"),
    [
        ({"bleu": 0.97, "nearest_bleu": 0.2}, FLAT, "0.770 above the 0.200 of answering with the"),
        ({"bleu": 0.1, "nearest_bleu": 0.2}, FLAT, "0.100 below the 0.200"),
        ({"bleu": 0.2, "nearest_bleu": 0.205}, FLAT, "no better than the 0.205"),
        ({"bleu": 0.4, "nearest_bleu": 0.2}, RISING, "still rising (+0.100 at the end)"),
        ({"bleu": 0.4, "known_words": 0.8}, FLAT, "20% of the held-out words are not"),
        ({"bleu": 0.4, "cosine": 0.99, "direct_bleu": 0.5}, FLAT, "the decoder does not read it"),
        (
            {"bleu": 0.4, "cosine": 0.6, "direct_bleu": 0.9},
            FLAT,
            "carries too little (cosine 0.60)",
        ),
    ],
)
def test_a_score_is_told_with_what_limits_it(
    metrics: dict[str, float], course: list[float], says: str
) -> None:
    said = verdict("text", row(**metrics), course)
    assert said is not None
    assert says in said
    assert said.startswith(f"It ends at bleu {metrics['bleu']:.3f}")


def test_a_high_score_is_limited_by_nothing() -> None:
    assert verdict("text", row(bleu=0.97, cosine=0.6), RISING) == "It ends at bleu 0.970."


def test_without_a_score_nothing_is_said() -> None:
    assert verdict("text", {"primary": "bleu", "metrics": None}, []) is None
    assert verdict("mine:Task", row(bleu=0.5), [0.5]) == "It ends at bleu 0.500."


def test_the_course_is_read_from_what_was_kept(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [
        {"event": "step", "step": 1, "loss": 3},
        {"event": "evaluation", "step": 2, "bleu": 0.1},
        {"event": "evaluation", "step": 4, "bleu": 0.2},
        {"event": "evaluation", "step": 2, "bleu": 0.15},
        {"event": "evaluation", "step": 6, "bleu": None},
    ]
    path.write_text("\n".join(map(json.dumps, lines)) + "\n{half")
    assert tail.course(path, "bleu") == [0.15, 0.2]
    assert tail.course(tmp_path / "absent", "bleu") == []
