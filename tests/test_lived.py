"""A clock that stands still while its process does."""

import pytest

from cell_train import lived


def test_time_nobody_lived_through_does_not_count() -> None:
    now = [100.0]
    clock = lived.Clock(lambda: now[0])
    for _ in range(10):
        now[0] += lived.PAUSE
        clock.look()
    assert clock.seconds() == pytest.approx(10 * lived.PAUSE)
    now[0] += 3600  # stopped
    assert clock.seconds() == pytest.approx(10 * lived.PAUSE + lived.LONGEST)
    clock.look()
    now[0] += 0.25
    assert clock.seconds() == pytest.approx(10 * lived.PAUSE + lived.LONGEST + 0.25)


def test_the_clock_of_this_process_goes_on() -> None:
    before = lived.seconds()
    assert lived.seconds() >= before
