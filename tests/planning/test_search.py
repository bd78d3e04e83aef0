"""The ladder, what more memory must never do, and lattices grown into the memory."""

import functools
import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cell_train.config import profiles, resolve, stage_file
from cell_train.config.resolve import Resolution
from cell_train.hardware.probe import GIB, Budget
from cell_train.planning import plan as planning
from cell_train.planning import search
from cell_train.planning.cost import timing
from cell_train.planning.cost.calibration import Calibration
from cell_train.planning.plan import StagePlan
from cell_train.planning.search import Terms
from tests.conftest import MakePlan

Vary = Callable[[Resolution], Resolution]
TABLES = profiles.load()
FILES = stage_file.load_folder(stage_file.built_in_folder(), TABLES.plasticity)


@functools.cache
def stage_for(profile: str) -> Resolution:
    """Stage 4 under a profile."""
    chosen = profiles.choose(TABLES, profile, None)
    return resolve.resolve(FILES[4], TABLES, chosen, [])


def plan_of(one: Resolution, profile: str, usable: int) -> StagePlan:
    budget = Budget("cuda", "cuda", usable / GIB, usable, "a test")
    return planning.make([one], profiles.choose(TABLES, profile, None), budget, 1).stages[0]


def flagged(one: Resolution, checkpointing: bool, scaling: bool) -> Resolution:
    flags = replace(
        one.stage.optimization,
        gradient_checkpointing=checkpointing,
        batch_size_auto_scaling=scaling,
    )
    return replace(one, stage=replace(one.stage, optimization=flags))


@pytest.mark.parametrize(
    ("checkpointing", "scaling", "batches", "lengths"),
    [
        (True, True, {1, 2, 4, 8, 16}, {1, 2, 3, 4, 6}),
        (True, False, {16}, {1, 2, 3, 4, 6}),
        (False, True, {1, 2, 4, 8, 16}, {1}),
        (False, False, {16}, {1}),
    ],
)
def test_flags_allow_the_search_its_moves(
    checkpointing: bool, scaling: bool, batches: set[int], lengths: set[int]
) -> None:
    one = flagged(stage_for("16gb"), checkpointing, scaling)
    profile = profiles.choose(TABLES, "16gb", None)
    known = Calibration(0, 0.0, timing.shipped()["cuda"], "a test", 1.0)
    terms = Terms(profile, "cuda", True, 1, known)
    rungs = search.ladder(one.stage, terms)
    assert {rung.micro_batch for rung in rungs} <= batches
    assert {rung.segment for rung in rungs} <= lengths
    top = rungs[-1]
    assert (top.micro_batch, top.segment) == (16, 1)  # nothing is faster than this
    assert len(rungs) == 1 or scaling or checkpointing


def test_the_fastest_is_taken_and_what_it_misses_is_said() -> None:
    one = stage_for("16gb")
    roomy = plan_of(one, "16gb", 16 * GIB)
    assert (roomy.execution.micro_batch, roomy.execution.segment) == (16, 1)
    assert roomy.reasons["batch_size"] == "memory:16gb allows 16"
    need = roomy.footprint.total
    tight = plan_of(one, "16gb", need)  # the headroom is what it lacks
    assert tight.fits
    assert tight.seconds > roomy.seconds
    assert f"16×2 with segments of 1 would take {need / GIB:.2f} GiB" in tight.reasons["batch_size"]
    none = plan_of(one, "16gb", 1)
    assert not none.fits
    assert none.footprint.total < tight.footprint.total
    assert none.execution.micro_batch * none.execution.accumulation == 32
    assert none.reasons["batch_size"] == "nothing fits; this takes least"


@given(batch=st.integers(1, 64), limit=st.integers(1, 40))
def test_micro_batches_keep_the_effective_batch(batch: int, limit: int) -> None:
    sizes = search.micro_batches(batch, limit)
    assert sizes[-1] == 1
    assert sizes == sorted(sizes, reverse=True)
    assert all(size <= limit and batch % size == 0 for size in sizes)


def varied(
    batch: int, channels: int, hidden: int, ticks: int, checkpointing: bool, scaling: bool
) -> Vary:
    def vary(one: Resolution) -> Resolution:
        lattice = replace(one.stage.lattice, channels=channels, hidden=hidden, ticks=ticks)
        stage = replace(one.stage, batch_size=batch, lattice=lattice)
        return flagged(replace(one, stage=stage), checkpointing, scaling)

    return vary


VARY = st.builds(
    varied,
    *(st.integers(1, 96), st.integers(1, 64), st.integers(1, 128), st.integers(48, 90)),
    *(st.booleans(), st.booleans()),
)
USABLE, MORE = st.integers(1 << 27, 1 << 35), st.integers(0, 1 << 34)


@given(profile=st.sampled_from(["8gb", "16gb", "24gb", "fit"]), vary=VARY, usable=USABLE, more=MORE)
def test_under_one_profile_more_memory_is_never_less_of_anything(
    profile: str, vary: Vary, usable: int, more: int
) -> None:
    one = vary(stage_for(profile))
    less_plan, more_plan = plan_of(one, profile, usable), plan_of(one, profile, usable + more)
    assert more_plan.fits >= less_plan.fits
    assert more_plan.stage == less_plan.stage  # dimensions, density: memory changes neither
    assert more_plan.execution.precision == less_plan.execution.precision
    if less_plan.fits:
        assert more_plan.execution.micro_batch >= less_plan.execution.micro_batch
        assert more_plan.seconds <= less_plan.seconds


@given(vary=VARY, overhead=st.floats(1e-6, 10), speed=st.floats(1e9, 1e15))
def test_that_holds_whatever_the_machine_is_like(vary: Vary, overhead: float, speed: float) -> None:
    profile = profiles.choose(TABLES, "fit", None)
    rates = {"flops_per_second": speed, "step_overhead_s": overhead}
    known = Calibration(0, 0.0, rates, "a test", 1.0)
    rungs = search.ladder(vary(stage_for("fit")).stage, Terms(profile, "cpu", True, 1, known))
    for lower, higher in itertools.pairwise(rungs):
        assert higher.peak > lower.peak
        assert higher.step_seconds < lower.step_seconds
        assert higher.micro_batch >= lower.micro_batch
    assert max(rung.micro_batch for rung in rungs) == rungs[-1].micro_batch


@given(
    gib=st.floats(0.5, 80),
    more=st.floats(0, 40),
    asked=st.lists(st.integers(3, 90), min_size=3, max_size=3),
)
def test_another_row_of_the_table_grants_no_smaller_a_lattice(
    gib: float, more: float, asked: list[int]
) -> None:
    """All that holds from row to row: precision and density are each row's own."""
    smaller, larger = (profiles.choose(TABLES, None, size).cap(asked) for size in (gib, gib + more))
    assert all(a <= b for a, b in zip(smaller, larger, strict=True))


def test_another_row_may_well_take_a_smaller_micro_batch(make_plan: MakePlan) -> None:
    """At 16.1 GiB the 24gb row asks for more cells, in fp32: the table's doing."""
    smaller = 0
    for channels in (32, 64, 96, 128, 192, 256, 384, 512):
        words = [f"lattice.channels={channels}"]
        (below,), (above,) = (make_plan("5", words, vram=gib).stages for gib in (16, 16.1))
        fewer = above.execution.micro_batch < below.execution.micro_batch
        smaller += below.fits and above.fits and fewer
    assert smaller


@given(usable=USABLE, more=MORE)
def test_more_memory_never_grows_a_lattice_less(usable: int, more: int) -> None:
    profile = profiles.choose(TABLES, "fit", None)
    small, large = (
        planning.make(
            [stage_for("fit")], profile, Budget("cuda", "cuda", 1, size, "a test"), 1, grow=True
        ).stages[0]
        for size in (usable, usable + more)
    )
    before, after = (one.stage.lattice.dimensions for one in (small, large))
    assert all(a <= b for a, b in zip(before, after, strict=True))
    if before == after and small.fits:
        assert large.execution.micro_batch >= small.execution.micro_batch
        assert large.seconds <= small.seconds


def test_a_grown_lattice_is_the_largest_of_its_shape_that_fits(make_plan: MakePlan) -> None:
    (stage,) = make_plan("5", vram=16, profile="fit", grow=True).stages
    x, y, z = stage.stage.lattice.dimensions
    assert stage.fits
    assert x == y > 40
    assert all(axis % 8 == 0 for axis in (x, y, z))
    assert abs(z - x * 30 / 40) <= 4  # the shape asked, to the nearest multiple of 8
    assert stage.sources["lattice.dimensions"] == "--grow"
    larger = [x + 8, y + 8, 8 * round((x + 8) * 30 / 40 / 8)]
    words = [f"lattice.dimensions={larger}"]
    assert not make_plan("5", words, vram=16, profile="fit").fits


def test_stages_grow_by_one_factor_and_overrides_stay(make_plan: MakePlan) -> None:
    plan = make_plan("1-5", vram=24, profile="fit", grow=True)
    assert plan.fits
    sizes = [stage.stage.lattice.dimensions for stage in plan.stages]
    for smaller, larger in itertools.pairwise(sizes):
        assert all(a <= b for a, b in zip(smaller, larger, strict=True))
    words = ["lattice.dimensions=[9,9,9]"]
    (fixed,) = make_plan("1", words, vram=24, profile="fit", grow=True).stages
    assert fixed.stage.lattice.dimensions == [9, 9, 9]


def test_where_nothing_larger_fits_the_lattice_stays_as_asked() -> None:
    one, profile = stage_for("fit"), profiles.choose(TABLES, "fit", None)
    known = Calibration(0, 0.0, timing.shipped()["cuda"], "a test", 1.0)
    terms = Terms(profile, "cuda", True, 1, known)
    least = search.ladder(one.stage, terms)[0].peak
    assert search.grow([one], replace(terms, room=least)) == [one]
    assert search.grow([one], replace(terms, room=least - 1)) == [one]
    assert search.grow([one], replace(terms, room=8 * least)) != [one]


def test_a_lattice_grows_no_deeper_than_its_ticks(make_plan: MakePlan) -> None:
    words = ["lattice.ticks=40"]
    (stage,) = make_plan("1", words, vram=80, profile="fit", grow=True).stages
    assert stage.stage.lattice.dimensions == [40, 40, 40]
