"""Measured constants are used where they were measured, and nowhere else."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cell_train import cache
from cell_train.hardware import probe
from cell_train.planning.cost import calibration
from cell_train.planning.cost.memory import SHIPPED, Constants
from tests.conftest import CPU

ONE = Constants(1, 0.0)
RATES = {"flops_per_second": 1.5e9, "step_overhead_s": 0.25}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def altered(**changes: Any) -> None:
    name = calibration.file_name(CPU)
    cache.keep_record(name, (cache.read_record(name) or {}) | changes)


def is_shipped(found: calibration.Calibration, kind: str = "cpu") -> bool:
    return (
        found.base_bytes == SHIPPED[kind].base
        and dict(found.rates) != RATES
        and found.source.startswith(calibration.SHIPPED_SOURCE)
    )


def test_without_a_file_the_shipped_constants_hold() -> None:
    assert is_shipped(calibration.load(CPU))
    assert is_shipped(calibration.load(probe.described(16)), "cuda")


def test_what_was_measured_comes_back() -> None:
    calibration.save(CPU, Constants(123_456_789, 0.25), RATES)
    found = calibration.load(CPU)
    assert found.constants == Constants(123_456_789, 0.25)
    assert dict(found.rates) == RATES
    assert found.source.startswith("calibrated 20")


@pytest.mark.parametrize("part", ["device", "driver", "torch"])
def test_numbers_of_another_machine_are_not_used(part: str) -> None:
    calibration.save(CPU, ONE, RATES)
    altered(measured_on=calibration.identity(CPU) | {part: "another"})
    assert is_shipped(calibration.load(CPU))


def test_one_gpu_does_not_count_for_another() -> None:
    one, other = (replace(probe.described(16), device=f"cuda:GPU-{i}") for i in "12")
    calibration.save(one, ONE, RATES)
    assert calibration.load(one).base_bytes == 1
    assert is_shipped(calibration.load(other), "cuda")


@pytest.mark.parametrize(
    "changes",
    [
        {"base_bytes": -1},
        {"base_bytes": True},
        {"base_bytes": 1 << 50},
        {"allocator": 15.0},
        {"allocator": None},
        {"rates": {}},
        {"rates": RATES | {"flops_per_second": 0}},
        {"rates": RATES | {"flops_per_second": "many"}},
        {"rates": RATES | {"flops_per_second": float("nan")}},
        {"rates": [1]},
        {"date": None},
    ],
)
def test_a_damaged_file_is_not_used_and_named(changes: dict[str, Any]) -> None:
    calibration.save(CPU, ONE, RATES)
    altered(**changes)
    found = calibration.load(CPU)
    assert is_shipped(found)
    assert "damaged" in found.source


def test_a_file_that_is_no_json_counts_as_absent() -> None:
    calibration.save(CPU, ONE, RATES)
    (cache.room() / calibration.file_name(CPU)).write_text('{"base_bytes": 1')
    assert is_shipped(calibration.load(CPU))


def test_a_gpu_that_nobody_measured_is_reckoned_from_its_data_sheet() -> None:
    known = replace(probe.described(16), gpu="NVIDIA GeForce RTX 4090", capability=(8, 9))
    older = replace(probe.described(16), gpu="NVIDIA Quadro Something", capability=(7, 5))
    unknown = replace(probe.described(16), gpu="NVIDIA Tomorrow", capability=(99, 0))
    found = [calibration.load(one) for one in (known, older, unknown)]
    assert "RTX 4090, not measured on this card" in found[0].source
    assert "compute capability 7.5, not measured" in found[1].source
    assert found[2].source == calibration.SHIPPED_SOURCE
    speeds = [one.rates["flops_per_second"] for one in found]
    assert speeds[0] > 3 * speeds[1]  # by bandwidth or by instructions, whichever is less
    calibration.save(known, ONE, RATES)
    assert calibration.load(known).source.startswith("calibrated")
