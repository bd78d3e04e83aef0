"""Predicted time, and fewer samples where there is less of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cell_train.errors import BudgetError, ConfigError
from cell_train.planning.cost import timing
from cell_train.planning.cost.timing import Pace
from tests.conftest import MakePlan


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("90", 90), ("90s", 90), ("1.5s", 1.5), ("30m", 1800), ("2h", 7200)),
        *(("1h30m", 5400), ("1h30m5s", 5405), ("2h10s", 7210)),
    ],
)
def test_times_as_people_write_them(text: str, seconds: float) -> None:
    assert timing.parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "0", "0h", "h", "2 h", "2H", "-3", "1e3", "1h30", "30m2h", "nan", "inf", "1.h", "٣"],
)
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--max-time"):
        timing.parse_duration(text)


PACES = st.lists(
    st.builds(Pace, st.integers(1, 400), st.integers(1, 20), st.floats(1e-3, 10)),
    min_size=1,
    max_size=6,
)


@given(paces=PACES, limit=st.floats(0.01, 1e5))
def test_samples_are_thinned_in_one_proportion(paces: list[Pace], limit: float) -> None:
    whole = sum(one.seconds for one in paces)
    least = sum(one.epochs * one.step_seconds for one in paces)
    if least > limit:
        with pytest.raises(BudgetError, match="one step an epoch"):
            timing.within(limit, paces)
        return
    kept = timing.within(limit, paces)
    assert sum(one.seconds for one in kept) <= limit
    if whole <= limit:
        assert kept == paces
        return
    shares = [
        (after.steps / before.steps, before) for after, before in zip(kept, paces, strict=True)
    ]
    assert all(after.steps >= 1 for after in kept)
    for share, before in shares:  # the same but for whole steps and the one that must stay
        for other, its in shares:
            assert share <= max(other + 1 / its.steps, 1 / before.steps) + 1e-9
    spare = limit - sum(one.seconds for one in kept)
    assert spare <= sum(one.epochs * one.step_seconds for one in paces) * (1 + 1e-9)


def test_the_plan_says_what_it_gave_up(make_plan: MakePlan) -> None:
    full, short = make_plan("1-5"), make_plan("1-5", max_time=60)
    assert sum(stage.seconds for stage in full.stages) > 60
    assert 50 < sum(stage.seconds for stage in short.stages) <= 60
    for before, after in zip(full.stages, short.stages, strict=True):
        samples, epochs = after.execution.samples_per_epoch, after.stage.epochs
        assert after.thinned == {
            "samples": samples * epochs,
            "of": after.stage.dataset_limit * epochs,
        }
        assert after.reasons["samples"] == "--max-time 60 s"
        assert after.stage == before.stage
        assert samples % after.stage.batch_size == 0
    assert make_plan("1-5", max_time=1e6).stages == full.stages


def test_a_step_with_more_forward_passes_or_recomputation_takes_longer(make_plan: MakePlan) -> None:
    stage = make_plan("4").stages[0].stage
    rates = timing.shipped()["cpu"]

    def step(micro_batch: int, segment: int) -> float:
        return timing.step_seconds(stage, micro_batch=micro_batch, segment=segment, rates=rates)

    assert step(16, 1) - step(32, 1) == pytest.approx(rates["step_overhead_s"])
    work = step(32, 1) - rates["step_overhead_s"]
    assert step(32, 6) - step(32, 1) == pytest.approx((timing.shipped()["recomputed"] - 1) * work)
