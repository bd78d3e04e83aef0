"""The time a run still takes, and its course in one line."""

import math

import pytest

from cell_train.console.outlook import seconds_left, sparkline

STEP = {"seconds_left": 30.0, "step": 50, "steps": 100}


def row(status: str, planned: float, seconds: float | None = None) -> dict[str, object]:
    return {"status": status, "planned_seconds": planned, "seconds": seconds}


def test_stages_to_come_are_scaled_by_how_the_plan_has_fared() -> None:
    """40 planned seconds took 80; half of the next 30, at its own pace, takes 30 of 60."""
    rows = [row("completed", 40, 80), row("running", 30), row("pending", 100)]
    factor = (80 + 30) / (40 + 15)
    assert seconds_left(rows, STEP) == pytest.approx(30 + 100 * factor)


def test_the_last_stage_takes_what_it_says() -> None:
    assert seconds_left([row("completed", 4, 8), row("running", 30)], STEP) == 30


def test_nothing_is_said_before_the_first_step() -> None:
    assert seconds_left([row("running", 30)], {"step": 0, "steps": 10}) is None


def test_a_stage_at_its_end_has_no_share_left() -> None:
    done = {"seconds_left": 0.0, "step": 100, "steps": 100}
    assert seconds_left([row("running", 30), row("pending", 60)], done) == pytest.approx(60.0)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ([], ""),
        ([1.0], ""),
        ([1.0, 1.0], "▁▁"),
        ([0.0, 7.0], "▁█"),
        ([0.0, math.nan, 7.0], "▁█"),
        ([0.0, 0.0, 7.0, 7.0], "▁█"),
    ],
)
def test_a_course_is_blocks_of_means(values: list[float], line: str) -> None:
    assert sparkline(values, width=2) == line
