"""What is granted, why, and what does not fit."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cell_train.config import profiles, resolve, stage_file
from cell_train.config.profiles import CpuRow, MemoryRow, Profile, Tables
from cell_train.errors import BudgetError
from cell_train.planning import memory, probe
from cell_train.planning import plan as planning
from cell_train.planning.probe import GIB, Budget
from tests.conftest import MakePlan

ASKED = [[16, 16, 16], [20, 20, 20], [24, 24, 24], [32, 32, 24], [40, 40, 30]]


@pytest.mark.parametrize(
    ("vram", "profile", "cap", "precision", "limit"),
    [
        (8, "8gb", [24, 24, 24], "bf16", 8),
        (16, "16gb", [32, 32, 24], "bf16", 16),
        (24, "24gb", [48, 48, 36], "fp32", 32),
    ],
)
def test_the_specified_budgets(
    make_plan: MakePlan, vram: float, profile: str, cap: list[int], precision: str, limit: int
) -> None:
    plan = make_plan(vram=vram)
    assert plan.profile == profile
    for stage, asked in zip(plan.stages, ASKED, strict=True):
        assert stage.requested_dimensions == asked
        granted = [min(*axis) for axis in zip(asked, cap, strict=True)]
        assert stage.stage.lattice.dimensions == granted
        assert stage.execution.precision == precision
        assert stage.execution.micro_batch == limit
        assert stage.execution.accumulation * limit == stage.stage.batch_size == 32
        assert stage.fits
        if granted != asked:
            assert stage.reasons["dimensions"] == f"memory:{profile}"
    assert [s.stage.lattice.connection_density for s in plan.stages][3:] == [0.3, 0.3]


def test_without_a_gpu_a_quarter_of_each_axis(make_plan: MakePlan) -> None:
    plan = make_plan("1-6")
    assert plan.profile == "cpu"
    assert [stage.stage.lattice.dimensions for stage in plan.stages] == [
        *([4, 4, 4], [5, 5, 5], [6, 6, 6], [8, 8, 6], [10, 10, 7], [12, 12, 9]),
    ]
    assert {stage.execution.precision for stage in plan.stages} == {"fp32"}


def test_fit_leaves_the_table_aside(make_plan: MakePlan) -> None:
    plan = make_plan("1-6", vram=24, profile="fit")
    assert [s.stage.lattice.dimensions for s in plan.stages] == [*ASKED, [48, 48, 36]]
    assert plan.stages[5].execution.precision == "bf16"  # the stage's own wish
    assert plan.stages[0].stage.lattice.connection_density == 1.0
    assert plan.fits


def test_the_json_has_the_promised_keys(make_plan: MakePlan) -> None:
    record = json.loads(json.dumps(planning.as_json(make_plan(vram=16))))
    assert record["schema"] == 1
    assert record["budget"]["vram_gb"] == 16
    assert record["budget"]["profile"] == "16gb"
    assert record["budget"]["source"] == "--vram 16"
    for stage in record["stages"]:
        assert stage.keys() >= {
            *("stage", "requested_dimensions", "dimensions", "mixed_precision"),
            *("connection_density", "batch_size", "accumulation", "segment"),
            *("predicted_peak_bytes", "seconds", "fits", "reasons"),
        }
        assert stage["predicted_peak_bytes"] == sum(stage["predicted"].values())
        assert stage["fits"] is True
        assert stage["seconds"] > 0


def with_cpu_samples(tables: Tables, samples: dict[int, int]) -> Tables:
    return replace(tables, cpu=replace(tables.cpu, samples=samples))


def test_sample_limits_thin_a_stage(make_plan: MakePlan, tables: Tables) -> None:
    own = with_cpu_samples(tables, {1: 750, 2: 999_999})
    one, two = make_plan("1-2", own_tables=own).stages
    assert one.execution.samples_per_epoch == 250  # 750 over 3 epochs
    assert one.thinned == {"samples": 750, "of": 1500}
    assert two.execution.samples_per_epoch == 1000  # never more than dataset_limit
    assert two.thinned is None
    (obeyed,) = make_plan("1", ["dataset_limit=400"], own_tables=own).stages
    assert obeyed.execution.samples_per_epoch == 400
    assert obeyed.thinned is None


def make_search(
    usable: int, *, checkpointing: bool = True, scaling: bool = True, batch: int = 32
) -> planning.StagePlan:
    """Stage 4 as the 16gb row grants it, planned for so many bytes."""
    tables = profiles.load()
    files = stage_file.load_folder(stage_file.built_in_folder(), tables.plasticity)
    profile = profiles.choose(tables, "16gb", None)
    stage = resolve.resolve(files[4], tables, profile, [])
    flags = replace(
        stage.stage.optimization,
        gradient_checkpointing=checkpointing,
        batch_size_auto_scaling=scaling,
    )
    stage = replace(stage, stage=replace(stage.stage, optimization=flags, batch_size=batch))
    budget = Budget("cuda", "cuda", 16, usable, "a test")
    return planning.make([stage], profile, budget, 1).stages[0]


def test_segments_are_lengthened_before_the_batch_is_split() -> None:
    roomy = make_search(16 * GIB)
    assert (roomy.execution.micro_batch, roomy.execution.segment) == (16, 1)
    tight = make_search(roomy.footprint.total - 1)
    assert (tight.execution.micro_batch, tight.execution.segment) == (16, 2)
    assert tight.fits
    shortest = make_search(1)
    assert not shortest.fits
    tighter = make_search(
        memory.footprint(
            roomy.stage, micro_batch=16, segment=4, precision="bf16", kind="cuda"
        ).total
        - (8 << 20)
    )
    assert tighter.fits
    assert tighter.execution.micro_batch == 8
    assert tighter.execution.accumulation == 4


def test_flags_allow_the_search_its_moves() -> None:
    need = make_search(16 * GIB).footprint.total
    fixed = make_search(need - 1, checkpointing=False, scaling=False)
    assert not fixed.fits
    assert (fixed.execution.micro_batch, fixed.execution.segment) == (16, 1)
    split = make_search(need - 1, checkpointing=False)
    assert split.fits
    assert (split.execution.micro_batch, split.execution.segment) == (8, 1)
    longer = make_search(need - 1, scaling=False)
    assert longer.fits
    assert (longer.execution.micro_batch, longer.execution.segment) == (16, 2)


@given(batch=st.integers(1, 64), limit=st.integers(1, 40))
def test_micro_batches_keep_the_effective_batch(batch: int, limit: int) -> None:
    sizes = planning.micro_batches(batch, limit)
    assert sizes[-1] == 1
    assert sizes == sorted(sizes, reverse=True)
    assert all(size <= limit and batch % size == 0 for size in sizes)


@given(usable=st.integers(1 << 28, 1 << 31), more=st.integers(0, 1 << 31))
def test_more_memory_is_never_a_slower_plan(usable: int, more: int) -> None:
    less_plan, more_plan = make_search(usable), make_search(usable + more)
    assert more_plan.fits >= less_plan.fits
    if less_plan.fits:
        assert more_plan.seconds <= less_plan.seconds
        assert more_plan.execution.micro_batch >= less_plan.execution.micro_batch


def test_the_smallest_budget_that_fits_is_true(make_plan: MakePlan) -> None:
    small = make_plan(vram=0.1)
    assert not small.fits
    with pytest.raises(BudgetError) as caught:
        planning.require_fit(small, lambda gib: make_plan(vram=gib))
    sentence = str(caught.value)
    assert sentence.startswith("stages 1, 2, 3, 4, 5 do not fit: stage 3 needs at least")
    smallest = float(sentence.rsplit("--vram ", 1)[1].rstrip("."))
    assert make_plan(vram=smallest).fits
    assert not make_plan(vram=round(smallest - 0.1, 1)).fits


def test_the_smallest_budget_counts_with_its_own_profile(make_plan: MakePlan) -> None:
    """A lattice too wide for 8 GiB at 24 cubed, and wider still under the next profiles."""
    words = ["lattice.channels=2048"]
    plan = make_plan("5", words, vram=4)
    assert not plan.fits
    smallest = planning.smallest_budget(plan, lambda gib: make_plan("5", words, vram=gib))
    assert smallest is not None
    fitting = make_plan("5", words, vram=smallest)
    assert fitting.fits
    assert fitting.profile != plan.profile


def test_the_ladder_goes_down_and_ends(make_plan: MakePlan) -> None:
    stage = make_plan("3", vram=16).stages[0]
    execution, changes = stage.execution, []
    peaks = [execution.predicted_peak_bytes]
    while rung := planning.step_down(stage.stage, execution):
        execution, change = rung
        changes.append(change)
        peaks.append(execution.predicted_peak_bytes)
        assert execution.micro_batch * execution.accumulation == stage.stage.batch_size
    assert peaks == sorted(peaks, reverse=True)
    assert changes[0] == "checkpoint segments of 2 ticks"
    assert changes[-1] == "micro-batches of 1 x 32"


def test_rows_cap_axis_by_axis() -> None:
    row = MemoryRow(8, [24, 24, 20], True, 0.5, 8)
    assert Profile("8gb", row).cap([16, 40, 30]) == [16, 24, 20]
    cpu = CpuRow(0.25, 4, False, 0.0, 32)
    assert Profile("cpu", cpu).cap([16, 40, 3]) == [4, 10, 3]
    assert Profile("fit", None).cap([99, 1, 1]) == [99, 1, 1]


def test_described_budgets_choose_rows_by_their_full_size() -> None:
    tables = profiles.load()
    names = [
        profiles.choose(tables, None, probe.described(gib).available_gb).name
        for gib in (0.1, 8, 8.1, 16, 16.5, 80)
    ]
    assert names == ["8gb", "8gb", "16gb", "16gb", "24gb", "24gb"]


def test_a_bcm_that_would_cycle_is_told_before_the_run_with_its_numbers(
    make_plan: MakePlan,
) -> None:
    assert not make_plan("1").stages[0].warnings
    slow = make_plan("1", ["plasticity.bcm.theta_rate=0.0005"])
    [warning] = slow.stages[0].warnings
    # eta 0.1 x 0.05, y0 0.2, 936 connections of 64 cells: b = 0.005 x 0.2 x 14.625 x 0.04
    assert "theta_rate 0.0005 is not above 0.000585" in warning
    assert planning.as_json(slow)["stages"][0]["warnings"] == [warning]
    [hopeless] = make_plan("1", ["plasticity.bcm.rate=200"]).stages[0].warnings
    assert "no plasticity.bcm.theta_rate is fast enough" in hopeless
    without = make_plan("1", ["plasticity.bcm.rate=200", "plasticity.plasticity_rule=stdp"])
    assert not without.stages[0].warnings
