"""What a run gets over by itself, what it refuses, and what it leaves behind when it fails."""

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cell_train import invocation, storage
from cell_train.config import resolve, stage_file
from cell_train.errors import ConfigError
from cell_train.events import Event
from cell_train.planning import plan_file
from cell_train.run_folder import folder, inputs
from cell_train.run_folder.paths import RunFiles
from cell_train.runner import crash_report, execute
from tests.support.runs import Prepare, fake_worker, run

Behave = Callable[[dict[int, str]], None]


def report(files: RunFiles) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((files.crash / "report.json").read_text())
    return found


def changes(files: RunFiles, number: int) -> list[str]:
    stage = files.stage(number)
    return inputs.changes(stage, resolve.read(stage.resolved).stage)


def test_a_silent_worker_is_ended_and_resumed_once(prepare: Prepare, behave: Behave) -> None:
    behave({1: "silent"})
    outcome, shown = run(prepare("1", words=["training.watchdog=2"]))
    assert outcome.exit_code == 0
    assert outcome.summary["stages"][0]["restarts"] == 1
    (retry,) = (event["message"] for event in shown if event["event"] == "retry")
    assert retry == "the worker was alive but silent for 2 s; it is ended and resumed once"


def test_a_worker_that_falls_silent_again_fails(prepare: Prepare, behave: Behave) -> None:
    behave({1: "hang"})
    files = prepare("1", words=["training.watchdog=2"])
    outcome, _ = run(files)
    assert outcome.exit_code == 1
    assert "silent for 2 s, also after it was resumed" in outcome.summary["error"]
    assert report(files)["kind"] == "hang"


@pytest.mark.parametrize(
    ("behaviour", "kind", "code"),
    [
        ("die", "signal", 1),
        ("exit", "bug", 1),
        ("fail", "numbers", 1),
        ("memory forever", "memory", 4),
    ],
)
def test_a_failure_leaves_a_capsule(
    prepare: Prepare, behave: Behave, behaviour: str, kind: str, code: int
) -> None:
    files = prepare("1-2")
    behave({2: behaviour})
    outcome, _ = run(files)
    record = report(files)
    assert (record["kind"], record["exit_code"], record["stage"]) == (kind, code, 2)
    assert record["error"] == outcome.summary["error"]
    assert record["resume"] == invocation.command("resume", files.folder)
    assert (files.crash / "resolved.yaml").read_text() == files.stage(2).resolved.read_text()
    assert "fake worker" in (files.crash / "worker.log").read_text()
    assert outcome.message is not None
    assert f"All about it: {files.crash}" in outcome.message


def test_an_error_of_the_parent_itself_is_a_sentence_and_a_capsule(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = prepare("1")

    def broken(*_: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(execute, "run_stage", broken)
    outcome, _ = run(files)
    assert outcome.exit_code == 1
    assert outcome.message is not None
    assert outcome.message.startswith("celltrain itself failed: ZeroDivisionError: oh")
    assert report(files)["kind"] == "bug"


def test_a_missed_gate_is_no_crash(prepare: Prepare) -> None:
    files = prepare("1", require=["bleu>=0.9"])
    assert run(files)[0].exit_code == 1
    assert not files.crash.exists()


def test_a_stage_that_would_go_on_otherwise_is_refused(prepare: Prepare, behave: Behave) -> None:
    files = prepare("1-2")
    behave({2: "exit"})
    run(files)
    behave({})
    path = files.stage(2).resolved
    path.write_text(path.read_text().replace("learning_rate: 0.004", "learning_rate: 0.01"))
    before = files.summary.read_bytes()
    with pytest.raises(ConfigError, match=r"resolved\.yaml: training\.learning_rate .* -> 0\.01"):
        run(files)
    assert files.summary.read_bytes() == before
    outcome = execute.execute(files, lambda _: None, accept_changes=True, argv=fake_worker)
    assert outcome.exit_code == 0
    assert "learning_rate: 0.01" in path.read_text()
    assert changes(files, 2) == []


def test_a_finished_stage_is_not_asked_again(prepare: Prepare, behave: Behave) -> None:
    files = prepare("1-2")
    behave({2: "exit"})
    run(files)
    behave({})
    path = files.stage(1).resolved
    path.write_text(path.read_text().replace("epochs: 3", "epochs: 4"))
    outcome, shown = run(files)
    assert outcome.exit_code == 0
    assert [event["stage"] for event in shown if event["event"] == "stage_start"] == [2]


def test_an_edited_stage_file_is_named_with_its_keys(prepare: Prepare, tmp_path: Path) -> None:
    files, own = prepare("1"), tmp_path / "stage1.yaml"
    shutil.copy(stage_file.built_in_folder() / "stage1.yaml", own)
    resolved = resolve.read(files.stage(1).resolved)
    profiles = [resolved.stage.plasticity_profile]
    written = plan_file.as_written(stage_file.load_file(own, profiles))
    inputs.note(files.stage(1), resolved.stage, written)
    own.write_text("# a remark changes nothing\n" + own.read_text())
    assert changes(files, 1) == []
    own.write_text(own.read_text().replace("epochs: 3", "epochs: 5"))
    assert changes(files, 1) == [f"{own}: epochs 3 -> 5"]
    own.unlink()
    assert changes(files, 1) == []


def test_other_text_than_before_is_a_change(prepare: Prepare, tmp_path: Path) -> None:
    data = tmp_path / "data.txt"
    data.write_text("one")
    files = prepare("1", words=[f"data.path={data}"])
    assert changes(files, 1) == []
    data.write_text("two")
    assert changes(files, 1) == [f"{data}: other data than before"]


def test_text_renewed_between_stages_is_refused_at_the_next(
    prepare: Prepare, tmp_path: Path
) -> None:
    data = tmp_path / "data.txt"
    data.write_text("one")
    files = prepare("1-2", words=[f"data.path={data}"])

    def renew(event: Event) -> None:
        if event["event"] == "stage_end" and event["stage"] == 1:
            data.write_text("two")

    outcome = execute.execute(files, renew, argv=fake_worker)
    assert outcome.exit_code == 2
    assert f"stage 2: {data}: other data than before. All stages" in outcome.summary["error"]
    assert [row["status"] for row in outcome.summary["stages"]] == ["completed", "pending"]
    assert report(files)["kind"] == "data"
    accepted = execute.execute(files, lambda _: None, accept_changes=True, argv=fake_worker)
    assert accepted.exit_code == 0


def test_text_renewed_during_the_last_stage_is_told(prepare: Prepare, tmp_path: Path) -> None:
    data = tmp_path / "data.txt"
    data.write_text("one")
    files = prepare("1", words=[f"data.path={data}"])

    shown: list[Event] = []

    def renew(event: Event) -> None:
        shown.append(event)
        if event["event"] == "stage_start":
            data.write_text("two")

    assert execute.execute(files, renew, argv=fake_worker).exit_code == 0
    assert "it was changed while the run trained on it" in shown[-1]["message"]


def test_data_that_was_moved_is_missed_and_found_at_its_new_place(
    prepare: Prepare, tmp_path: Path, behave: Behave
) -> None:
    data, new = tmp_path / "data.txt", tmp_path / "new.txt"
    data.write_text("one")
    files = prepare("1-2", words=[f"data.path={data}"])
    behave({2: "exit"})
    run(files)
    behave({})
    data.rename(new)
    with pytest.raises(ConfigError) as refused:
        run(files)
    assert str(refused.value) == (
        f"{data}: is not there. If it has moved, say where it is:"
        f" {crash_report.resume_command(files)} data.path=NEW"
    )
    with pytest.raises(ConfigError, match="is not there; relative paths begin where you are"):
        inputs.moved([f"data.path={data}"])
    with pytest.raises(ConfigError, match="a run keeps what it began with"):
        inputs.moved(["epochs=3"])
    places = inputs.moved([f"data.path={new}"])
    new.write_text("two")
    with pytest.raises(ConfigError, match=r"new\.txt: other data than before"):
        execute.execute(files, lambda _: None, moved=places, argv=fake_worker)
    new.write_text("one")
    assert execute.execute(files, lambda _: None, moved=places, argv=fake_worker).exit_code == 0
    assert resolve.read(files.stage(2).resolved).stage.data.path == str(new)


def test_a_run_goes_on_with_as_many_threads_as_are_asked_for(
    prepare: Prepare, behave: Behave
) -> None:
    files = prepare("1-3")
    behave({2: "exit"})
    run(files)
    behave({})
    began = [resolve.read(files.stage(number).resolved) for number in (1, 2, 3)]
    assert execute.execute(files, lambda _: None, threads=3, argv=fake_worker).exit_code == 0
    now = [resolve.read(files.stage(number).resolved) for number in (1, 2, 3)]
    threads = [one.execution.threads for one in now]
    assert threads == [began[0].execution.threads, 3, 3]  # the first was complete
    assert began[1].execution.threads != 3
    assert [one.stage for one in now] == [one.stage for one in began]


def test_what_was_given_up_for_memory_is_not_forgotten(prepare: Prepare, behave: Behave) -> None:
    files = prepare("2", words=["lattice.dimensions=[24,24,24]"])
    behave({2: "memory forever"})
    (row,) = run(files)[0].summary["stages"]
    behave({})
    (again,) = run(files)[0].summary["stages"]
    assert again["retries"] == row["retries"] != []


def test_a_disk_that_takes_nothing_does_not_stop_the_run(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = prepare("1-2")

    def full(path: Path, *_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(storage, "append_line", full)
    outcome, shown = run(files)
    assert outcome.exit_code == 1
    assert [event["stage"] for event in shown if event["event"] == "stage_end"] == [1, 2]
    assert "events.jsonl (No space left on device)" in outcome.summary["error"]
    assert report(files)["kind"] == "disk"
    monkeypatch.undo()
    assert run(files)[0].exit_code == 0


def test_a_line_is_appended_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"a": 1}\n{"b": ')  # as a kill leaves it
    storage.append_line(path, '{"c": 3}')
    assert path.read_bytes() == b'{"a": 1}\n{"b": \n{"c": 3}\n'


def test_a_moved_run_goes_on_where_it_is(prepare: Prepare, behave: Behave) -> None:
    files = prepare("1-2")
    behave({2: "exit"})
    run(files)
    behave({})
    moved = RunFiles(files.folder.rename(files.folder.with_name("moved")))
    outcome, shown = run(moved)
    assert outcome.exit_code == 0
    (start,) = (event for event in shown if event["event"] == "stage_start")
    assert start["stage"] == 2
    assert start["started_from"].startswith(str(moved.folder))


def test_a_damaged_checkpoint_of_a_finished_stage_is_made_again(prepare: Prepare) -> None:
    files = prepare("1")
    outcome, _ = run(files)
    Path(outcome.summary["stages"][0]["checkpoint"]).write_bytes(b"stat\0")
    again, shown = run(files)
    assert again.exit_code == 0
    assert [event["stage"] for event in shown if event["event"] == "stage_start"] == [1]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"stages": []}, "stages is"),
        ({"stages": [{"stage": "../../x"}]}, r"stages\[0\]\.stage is '\.\./\.\./x'"),
        ({"stages": [7]}, "stages is"),
        ({"require": "bleu"}, "require is 'bleu'"),
        ({"from": 3}, "from is 3"),
    ],
)
def test_a_plan_from_a_stranger_is_checked(
    prepare: Prepare, change: dict[str, Any], says: str
) -> None:
    files = prepare("1")
    plan = json.loads(files.plan.read_text())
    files.plan.write_text(json.dumps(plan | change))
    with pytest.raises(ConfigError, match=says):
        run(files)


@pytest.mark.parametrize("content", ["", "[1]", "{" * 100_000, '{"a": ' * 5000, "\0"])
def test_a_damaged_plan_is_named(prepare: Prepare, content: str) -> None:
    files = prepare("1")
    files.plan.write_text(content)
    with pytest.raises(ConfigError, match=r"plan\.json.*: is damaged"):
        folder.read_plan(files)


def test_a_result_cannot_name_a_file_outside_its_run(prepare: Prepare, tmp_path: Path) -> None:
    files = prepare("1")
    run(files)
    outside = tmp_path / "step-000001.pt"
    shutil.copy(next(files.stage(1).checkpoints.glob("*.pt")), outside)
    done = json.loads(files.stage(1).result.read_text())
    files.stage(1).result.write_text(json.dumps(done | {"checkpoint": str(outside)}))
    outcome, _ = run(files)
    used = Path(outcome.summary["stages"][0]["checkpoint"])
    assert used.parent == files.stage(1).checkpoints


def test_links_out_of_a_run_folder_are_refused(prepare: Prepare, tmp_path: Path) -> None:
    files = prepare("1")
    victim = tmp_path / "mine.txt"
    victim.write_text("mine")
    files.stage(1).log.symlink_to(victim)
    with pytest.raises(ConfigError, match="is a link"):
        run(files)
    assert victim.read_text() == "mine"
