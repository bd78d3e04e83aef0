"""`celltrain calibrate` finds what two stages take, keeps it, and plans count with it."""

import io
from pathlib import Path

import pytest

from cell_train import cache
from cell_train.console import output
from cell_train.diagnostics import calibrate
from cell_train.diagnostics.calibrate import Measured
from cell_train.errors import CelltrainError, OutOfMemory
from cell_train.planning.cost import calibration
from cell_train.planning.cost.memory import SHIPPED
from cell_train.planning.plan import StagePlan
from cell_train.workers import launch, supervisor
from cell_train.workers.supervisor import Ending, Interruption
from tests.conftest import CPU, MakePlan

BASE, ALLOCATOR, RATE, OVERHEAD = 500_000_000, 0.9, 2e9, 0.05


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def taken(tensors: int, work: float) -> Measured:
    """What a stage takes on a machine of these constants."""
    return Measured(tensors, round(BASE + (1 + ALLOCATOR) * tensors), work, OVERHEAD + work / RATE)


def stub(plan: StagePlan, *_: object) -> Measured:
    return taken(plan.footprint.tensors, calibrate.work(plan.stage))


def test_what_two_stages_take_gives_the_machine_back() -> None:
    constants, rates = calibrate.fitted(taken(10**7, 1e8), taken(4 * 10**8, 1e10), "cpu")
    assert constants.base == pytest.approx(BASE, abs=2)
    assert constants.allocator == ALLOCATOR
    assert rates == pytest.approx({"flops_per_second": RATE, "step_overhead_s": OVERHEAD})


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_a_lucky_stage_does_not_lower_what_is_lost_at_worst(kind: str) -> None:
    tiny, larger = Measured(10**7, 10**7, 1e8, 0.1), Measured(4 * 10**8, 4 * 10**8, 1e10, 1.0)
    constants, _ = calibrate.fitted(tiny, larger, kind)
    assert constants.allocator == SHIPPED[kind].allocator


def test_noise_never_gives_less_than_is_shipped() -> None:
    tiny, larger = Measured(10**7, 10**7, 1e8, 0.001), Measured(4 * 10**8, 2 * 10**8, 1e10, 1.0)
    constants, rates = calibrate.fitted(tiny, larger, "cpu")
    assert constants == SHIPPED["cpu"]
    assert rates["step_overhead_s"] > 0


def test_a_machine_too_busy_to_be_measured_is_said() -> None:
    with pytest.raises(CelltrainError, match="too busy"):
        calibrate.fitted(Measured(1, 1, 1e8, 2.0), Measured(2, 2, 1e10, 1.0), "cpu")


def test_plans_count_with_what_was_measured(
    make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrate, "train", stub)
    before = make_plan("1-5")
    found = calibrate.measure("cpu", Interruption())
    after = make_plan("1-5")
    assert before.calibration.startswith("shipped")
    assert after.calibration.startswith("calibrated 20")
    assert {stage.footprint.base for stage in after.stages} == {found["base_bytes"]}
    assert found["base_bytes"] == pytest.approx(BASE, abs=2)
    assert after.stages[0].seconds != before.stages[0].seconds


def test_what_was_measured_is_said_and_where_it_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate, "train", stub)
    found, said = calibrate.measure("cpu", Interruption()), io.StringIO()
    output.print_calibration(found, said)
    assert "a worker takes 477 MiB beside its tensors, and 90.0% of their size" in said.getvalue()
    assert "2.0 Gflop/s in training; each forward pass adds 50 ms" in said.getvalue()
    assert f"kept in {cache.room() / calibration.file_name(CPU)};" in said.getvalue()


def test_a_cache_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(calibrate, "train", stub)
    with pytest.raises(CelltrainError, match=r"cannot be kept there .*; set XDG_CACHE_HOME"):
        calibrate.measure("cpu", Interruption())


@pytest.mark.parametrize(
    ("failure", "kind", "said"),
    [
        ({"error": "OutOfMemory", "message": "memory ran out"}, OutOfMemory, "memory ran out"),
        (None, CelltrainError, "its worker ended with code 7"),
    ],
)
def test_a_worker_that_fails_is_told_as_what_it_is(
    monkeypatch: pytest.MonkeyPatch,
    failure: dict[str, str] | None,
    kind: type[CelltrainError],
    said: str,
) -> None:
    monkeypatch.setattr(launch, "start", lambda *_: None)
    ending = Ending(7, None, failure, None, killed_for_memory=False)
    monkeypatch.setattr(supervisor, "attend", lambda *_: ending)
    with pytest.raises(kind, match=said):
        calibrate.measure("cpu", Interruption())
    assert not (cache.room(make=True) / calibration.file_name(CPU)).exists()


def test_real_workers_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = ("dataset_limit=24", "lattice.backend=plain")  # nothing to compile
    monkeypatch.setattr(calibrate, "TINY", ("lattice.dimensions=[4,4,4]", *plain))
    monkeypatch.setattr(calibrate, "LARGER", ("lattice.dimensions=[10,10,10]", *plain))
    found = calibrate.measure("cpu", Interruption())
    tiny, larger = found["measured"]
    assert 100 << 20 < found["base_bytes"] < 2 << 30  # Python and torch
    assert larger["peak_bytes"] > tiny["peak_bytes"] > tiny["tensors_bytes"]
    assert larger["step_seconds"] > tiny["step_seconds"] > 0
