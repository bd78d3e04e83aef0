"""Runs from start to end, and all the ways they end early."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cell_train import invocation
from cell_train.config import resolve
from cell_train.errors import ConfigError
from cell_train.planning import plan as planning
from cell_train.run_folder import folder
from cell_train.run_folder.paths import RunFiles
from cell_train.workers import supervisor
from tests.support.runs import Prepare, run

Behave = Callable[[dict[int, str]], None]

WIDE = ["lattice.dimensions=[24,24,24]"]  # so that every rung of the ladder saves something
ROW = {  # every row of the summary has these, whatever became of the stage
    *("stage", "status", "dimensions", "connection_density", "plasticity_profile", "epochs"),
    *("samples", "seconds", "peak_bytes", "predicted_peak_bytes", "loss", "primary", "metrics"),
    *("clusters", "clusterings", "mean_abs_change", "thinned", "checkpoint"),
}


def saved(files: RunFiles) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(files.summary.read_text())
    return record


def statuses(files: RunFiles) -> list[str]:
    return [row["status"] for row in saved(files)["stages"]]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_five_stages_grow_from_one_another(prepare: Prepare) -> None:
    files = prepare("1-5")
    outcome, shown = run(files)
    assert outcome.exit_code == 0
    assert saved(files) == outcome.summary
    assert outcome.summary["schema"] == 1
    assert outcome.summary["status"] == "completed"
    assert outcome.summary["run_dir"] == str(files.folder)
    rows = outcome.summary["stages"]
    assert [row["stage"] for row in rows] == [1, 2, 3, 4, 5]
    for row in rows:
        assert row.keys() >= ROW
        assert row["status"] == "completed"
    assert rows[0]["clusters"] is None
    assert rows[2]["clusters"] == 5
    started = {e["stage"]: e["started_from"] for e in shown if e["event"] == "stage_start"}
    assert started[1] is None
    for number in (2, 3, 4, 5):
        assert started[number] == rows[number - 2]["checkpoint"]
    assert lines(files.events) == shown


def test_metrics_are_flat_and_only_metrics(prepare: Prepare) -> None:
    files = prepare("3")
    run(files)
    records = lines(files.stage(3).metrics)
    kinds = {"stage_start", "step", "clustering", "evaluation", "stage_end"}
    assert {record["event"] for record in records} == kinds
    assert all(not isinstance(v, (dict, list)) for record in records for v in record.values())
    (evaluation,) = (record for record in records if record["event"] == "evaluation")
    assert evaluation["bleu"] == pytest.approx(0.3)


def test_a_later_stage_without_predecessor_says_so(prepare: Prepare, tmp_path: Path) -> None:
    _, shown = run(prepare("3"))
    warnings = [e["message"] for e in shown if e.get("level") == "warning"]
    assert warnings == ["there is no stage before it in this run; it starts fresh"]
    given = tmp_path / "own.pt"
    given.touch()
    _, shown = run(prepare("3", start_from=given))
    assert [e["started_from"] for e in shown if e["event"] == "stage_start"] == [str(given)]
    assert not [e for e in shown if e.get("level") == "warning"]


def test_a_failed_stage_leaves_the_earlier_ones_intact(prepare: Prepare, behave: Behave) -> None:
    files = prepare("1-3")
    behave({2: "exit"})
    outcome, _ = run(files)
    assert outcome.exit_code == 1
    assert outcome.message is not None
    first, *tail = outcome.message.splitlines()
    assert first.startswith("stage 2: the worker ended with code 7")
    assert "  something the log should show" in tail
    assert tail[-1] == f"To go on: {invocation.command('resume', files.folder)}"
    assert statuses(files) == ["completed", "failed", "pending"]
    before = files.stage(1).result.read_bytes()

    behave({})
    resumed, shown = run(files)
    assert resumed.exit_code == 0
    assert statuses(files) == ["completed"] * 3
    assert files.stage(1).result.read_bytes() == before
    assert [e["stage"] for e in shown if e["event"] == "stage_start"] == [2, 3]
    assert "resumed=True" in files.stage(2).log.read_text()


def test_the_worker_names_its_error_and_code(prepare: Prepare, behave: Behave) -> None:
    behave({1: "fail"})
    outcome, _ = run(prepare("1"))
    assert outcome.exit_code == 1
    assert outcome.summary["error"] == "stage 1: 0.02 % of cells spike; lower activity_threshold"


def test_a_killed_worker_is_said_to_be_killed(prepare: Prepare, behave: Behave) -> None:
    behave({1: "die"})
    outcome, _ = run(prepare("1"))
    assert outcome.exit_code == 1
    assert outcome.summary["error"] == "stage 1: the worker was killed by SIGKILL."


def test_out_of_memory_goes_down_the_ladder(prepare: Prepare, behave: Behave) -> None:
    files = prepare("2", words=WIDE)
    planned = resolve.read(files.stage(2).resolved)
    behave({2: "memory"})
    outcome, shown = run(files)
    assert outcome.exit_code == 0
    (row,) = outcome.summary["stages"]
    assert row["retries"][0] == "checkpoint segments of 2 ticks"
    assert [e["event"] for e in shown].count("retry") == len(row["retries"]) == 3
    execution = resolve.read(files.stage(2).resolved).execution
    assert execution.predicted_peak_bytes < planned.execution.predicted_peak_bytes
    assert execution.micro_batch * execution.accumulation == planned.stage.batch_size
    assert row["predicted_peak_bytes"] == execution.predicted_peak_bytes


def test_out_of_memory_for_good_is_exit_4(prepare: Prepare, behave: Behave) -> None:
    behave({1: "memory forever"})
    files = prepare("1", words=WIDE)
    outcome, shown = run(files)
    assert outcome.exit_code == 4
    last = resolve.read(files.stage(1).resolved)
    assert planning.step_down(last.stage, last.execution) is None  # the whole ladder was tried
    retries = outcome.summary["stages"][0]["retries"]
    assert [e["event"] for e in shown].count("retry") == len(retries) > 3
    said = f"memory ran out and nothing is left to give up, after {', '.join(retries)}; resume"
    assert said in outcome.summary["error"]


def test_a_kill_by_the_kernel_for_memory_is_out_of_memory(
    prepare: Prepare, behave: Behave, monkeypatch: pytest.MonkeyPatch
) -> None:
    kills = iter(range(100))
    monkeypatch.setattr(supervisor, "oom_kills", lambda: next(kills))
    behave({1: "die"})
    outcome, _ = run(prepare("1", words=WIDE))
    assert outcome.exit_code == 0  # the retry goes on from the checkpoint
    assert outcome.summary["stages"][0]["retries"] == ["checkpoint segments of 2 ticks"]


@pytest.mark.parametrize(
    ("require", "says"),
    [
        ("bleu>=0.15", "stage 1 ended with bleu 0.1, but bleu>=0.15 is required"),
        ("loss<=0.01", "stage 1 ended with loss 0.1, but loss<=0.01 is required"),
        ("blue>=0", "stage 1 has no metric 'blue' (did you mean bleu?)"),
    ],
)
def test_a_missed_requirement_stops_the_run(prepare: Prepare, require: str, says: str) -> None:
    files = prepare("1-2", require=["cosine>=0.5", require])
    outcome, _ = run(files)
    assert outcome.exit_code == 1
    assert says in outcome.summary["error"]
    assert statuses(files) == ["completed", "pending"]
    assert outcome.message is not None
    assert "--stages 2-" in outcome.message


def test_requirements_that_are_met_do_not_stop(prepare: Prepare) -> None:
    outcome, _ = run(prepare("1-2", require=["bleu>=0.1", "seconds<=5"]))
    assert outcome.exit_code == 0


def test_a_stage_can_carry_its_own_gate(prepare: Prepare) -> None:
    outcome, _ = run(prepare("1-2", words=["advance_if={metric: bleu, min: 0.15}"]))
    assert outcome.exit_code == 1
    assert "bleu>=0.15 is required" in outcome.summary["error"]


def test_the_time_limit_ends_a_run(prepare: Prepare, behave: Behave) -> None:
    files = prepare("1-2")
    behave({2: "show"})
    outcome, shown = run(files, timeout=3)
    assert outcome.exit_code == 124
    assert saved(files)["status"] == "interrupted"
    assert shown[-1]["event"] == "interrupted"  # the worker had time to save
    behave({})
    assert run(files)[0].exit_code == 0


def test_a_worker_deaf_to_signals_is_killed(
    prepare: Prepare, behave: Behave, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "GRACE", 0.5)
    behave({1: "hang"})
    outcome, _ = run(prepare("1"), timeout=2)
    assert outcome.exit_code == 124


def test_one_run_has_one_runner(prepare: Prepare) -> None:
    files = prepare("1")
    with folder.locked(files), pytest.raises(ConfigError, match="is being run by process"):
        run(files)
    assert run(files)[0].exit_code == 0


def test_the_newest_unfinished_run_is_found(prepare: Prepare, behave: Behave) -> None:
    done, failed, newer = (prepare("1") for _ in range(3))
    parent = done.folder.parent
    assert len({done.folder, failed.folder, newer.folder}) == 3
    run(done)
    run(newer)
    behave({1: "exit"})
    run(failed)
    assert folder.find(None, parent) == failed
    assert folder.find(done.folder.name, parent) == done
    assert folder.find(str(done.folder), Path("elsewhere")) == done
    behave({})
    run(failed)
    with pytest.raises(ConfigError, match="holds no unfinished run"):
        folder.find(None, parent)
    with pytest.raises(ConfigError, match="is no run folder"):
        folder.find("absent", parent)


def test_a_stage_whose_checkpoint_is_gone_runs_again(prepare: Prepare) -> None:
    files = prepare("1-2")
    outcome, _ = run(files)
    Path(outcome.summary["stages"][0]["checkpoint"]).unlink()
    _, shown = run(files)
    assert [e["stage"] for e in shown if e["event"] == "stage_start"] == [1]


@pytest.mark.parametrize("name", ["", "a/b", "../x", ".hidden", "x" * 65, "a b"])
def test_run_names_stay_inside_the_folder(prepare: Prepare, tmp_path: Path, name: str) -> None:
    plan_of = prepare("1")
    assert plan_of.plan.is_file()
    with pytest.raises(ConfigError, match="--name"):
        folder.prepare(EMPTY, EMPTY, tmp_path, name)


EMPTY: Any = None  # never looked at: the name is checked first
