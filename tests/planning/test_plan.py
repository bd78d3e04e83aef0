"""What is granted, why, and what does not fit."""

import itertools
import json
from dataclasses import replace
from typing import Any

import pytest

from cell_train.config import profiles
from cell_train.config.profiles import CpuRow, MemoryRow, Profile, Tables
from cell_train.hardware import probe
from cell_train.planning import plan as planning
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
            *("predicted_peak_bytes", "seconds", "fits", "reasons", "changed"),
        }
        assert stage["predicted_peak_bytes"] == sum(stage["predicted"].values())
        assert stage["fits"] is True
        assert stage["seconds"] > 0


def test_what_was_changed_is_listed_with_what_it_was(make_plan: MakePlan) -> None:
    def changes(number: int, **options: Any) -> dict[str, tuple[Any, Any, str]]:
        (stage,) = make_plan(str(number), **options).stages
        return {one.key: (one.before, one.now, one.by) for one in stage.changes}

    assert changes(5, vram=8) == {
        "lattice.dimensions": ([40, 40, 30], [24, 24, 24], "memory:8gb"),
        "micro_batch": (32, 8, "memory:8gb"),
    }  # 70 % are pruned already, and mixed precision is the stage's own wish
    assert changes(1, vram=8)["lattice.connection_density"] == (1.0, 0.5, "memory:8gb")
    assert changes(3, vram=8)["lattice.connection_density"] == (0.7, 0.5, "memory:8gb")
    cpu = changes(1)
    assert cpu["lattice.channels"] == (16, 8, "memory:cpu")
    assert cpu["optimization.mixed_precision.enabled"] == (True, False, "memory:cpu")
    assert cpu.keys() == {
        *("lattice.dimensions", "lattice.channels", "lattice.hidden"),
        "optimization.mixed_precision.enabled",
    }
    assert changes(1, vram=24, profile="fit") == {}
    own = ["lattice.dimensions=[9,9,9]", "lattice.channels=12"]
    assert not changes(1, words=own).keys() & {"lattice.dimensions", "lattice.channels"}


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


def test_the_ladder_goes_down_and_ends(make_plan: MakePlan) -> None:
    stage = make_plan("3", vram=16).stages[0]
    execution, changes = stage.execution, []
    peaks = [execution.predicted_peak_bytes]
    while rung := planning.step_down(stage.stage, execution):
        execution, change = rung
        changes.append(change)
        peaks.append(execution.predicted_peak_bytes)
        assert execution.micro_batch * execution.accumulation == stage.stage.batch_size
    assert all(lower < 0.97 * higher for higher, lower in itertools.pairwise(peaks))
    assert changes[0] == "checkpoint segments of 2 ticks"
    assert changes[-1].startswith("micro-batches of ")


def test_the_ladder_ends_in_half_precision_where_the_stage_has_memory_optimizations(
    make_plan: MakePlan,
) -> None:
    for allowed in (True, False):
        words = [
            *("lattice.dimensions=[40,40,40]", "lattice.channels=64", "text.embedding=32"),
            *("plasticity.enable_plasticity=false", "plasticity.enable_clustering=false"),
            f"memory_optimizations={str(allowed).lower()}",
        ]
        one = make_plan("3", words, profile="fit").stages[0]
        execution, last = replace(one.execution, precision="fp32", device="cuda:0"), ""
        while rung := planning.step_down(one.stage, execution):
            execution, last = rung
        assert (execution.precision, last == "cells stored in fp16") == (
            ("fp16", True) if allowed else ("fp32", False)
        )


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


def test_a_stage_that_max_time_leaves_a_few_samples_is_warned_of(make_plan: MakePlan) -> None:
    whole = make_plan("4-5", vram=24)
    seconds = sum(stage.seconds for stage in whole.stages)
    assert not any(stage.warnings for stage in make_plan("4-5", vram=24, max_time=seconds).stages)
    (warning,) = make_plan("4-5", vram=24, max_time=seconds / 100).stages[1].warnings
    assert warning.startswith("--max-time leaves it ")
    assert "too few to learn much from" in warning
