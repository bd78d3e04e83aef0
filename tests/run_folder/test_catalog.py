"""Runs that are there: listed, looked on at, compared, deleted."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

from cell_train.errors import ConfigError
from cell_train.events import Event
from cell_train.run_folder import catalog, compare, folder, summary
from cell_train.run_folder.paths import RunFiles
from cell_train.runner import watch
from cell_train.runner.execute import Outcome
from tests.support.runs import Prepare, Start, run, wait_until

Behave = Callable[[dict[int, str]], None]


def seen(files: RunFiles) -> tuple[Outcome, list[Event]]:
    """Watch a run to its end."""
    shown: list[Event] = []
    return watch.watch(files, shown.append), shown


def at_work(start: Start, tmp_path: Path, stages: str) -> "tuple[Popen[str], RunFiles]":
    """A run that has shown its first step."""
    process = start("run", "--stages", stages, "--quiet")
    wait_until(lambda: any(tmp_path.glob("runs/*/stage-1/metrics.jsonl")))
    (files,) = folder.all_runs(tmp_path / "runs")
    return process, files


def table(out: str) -> list[list[str]]:
    return [line.split() for line in out.splitlines()]


def test_ls_tells_of_each_run_the_newest_first(prepare: Prepare, behave: Behave) -> None:
    done = prepare("1-2")
    run(done)
    behave({2: "fail"})
    failed = prepare("1-2")
    run(failed)
    fresh = prepare("3")
    for age, files in enumerate((fresh, failed, done)):
        os.utime(files.plan, (1e9 - age, 1e9 - age))
    told = [catalog.overview(files) for files in folder.all_runs(done.folder.parent)]
    assert [one["run_dir"] for one in told] == [str(f.folder) for f in (fresh, failed, done)]
    assert [one["status"] for one in told] == ["interrupted", "failed", "completed"]
    assert [one["stage"] for one in told] == [None, 2, 2]
    assert [one["best"] for one in told] == [None, pytest.approx(0.1), pytest.approx(0.2)]
    assert told[2]["metric"] == "bleu"
    of_files = sum(path.stat().st_size for path in done.folder.rglob("*") if path.is_file())
    assert told[2]["bytes"] == of_files


def test_a_stage_that_is_not_complete_counts_with_its_latest_evaluation(prepare: Prepare) -> None:
    files = prepare("1")
    run(files)
    record = json.loads(files.summary.read_text())
    record["stages"][0] |= {"status": "running", "metrics": None, "primary": None}
    files.summary.write_text(json.dumps(record))
    lines = files.stage(1).metrics.read_text()
    files.stage(1).metrics.write_text(lines.replace('"bleu": 0.1', '"bleu": 0.7') + '{"event": "ev')
    assert catalog.overview(files)["best"] == 0.7


def test_the_lock_tells_a_run_at_work_from_one_whose_process_is_gone(
    start: Start, tmp_path: Path, behave: Behave
) -> None:
    behave({1: "wait"})
    process, files = at_work(start, tmp_path, "1")
    assert folder.status(files) == "running"
    with pytest.raises(ConfigError, match="is running; stop it first"):
        catalog.find(str(files.folder), tmp_path)
    process.kill()
    process.communicate()
    wait_until(lambda: not folder.running(files))
    assert json.loads(files.summary.read_text())["status"] == "running"  # nobody could correct it
    assert folder.status(files) == "interrupted"
    assert catalog.overview(files)["status"] == "interrupted"


def test_asking_whether_a_run_is_at_work_does_not_keep_it_from_starting(prepare: Prepare) -> None:
    files = prepare("1")
    with folder.locked(files):
        assert folder.running(files)
    assert not folder.running(files)
    with folder.locked(files), pytest.raises(ConfigError, match="is being run by process"):
        folder.locked(files).__enter__()


def test_ls_prints_names_whole_and_last(start: Start, prepare: Prepare) -> None:
    files = prepare("1-2")
    run(files)
    out, err = start("ls").communicate(timeout=60)
    assert err == ""
    assert table(out)[0] == ["status", "stage", "best", "size", "age", "run"]
    assert table(out)[1][:5] == ["completed", "2", "of", "2", "bleu"]
    assert out.splitlines()[1].endswith(f"  {files.folder.name}")
    out, _ = start("ls", "--json").communicate(timeout=60)
    (told,) = json.loads(out)["runs"]
    assert (told["run"], told["stages"]) == (files.folder.name, [1, 2])


def test_a_damaged_run_hides_no_other(start: Start, prepare: Prepare) -> None:
    files, damaged = prepare("1"), prepare("1")
    damaged.plan.write_text("{")
    out, err = start("ls").communicate(timeout=60)
    assert files.folder.name in out
    assert f"{damaged.plan}:1:2: is damaged" in err


def test_rm_needs_a_yes_and_deletes_only_the_run(
    start: Start, prepare: Prepare, tmp_path: Path
) -> None:
    files, other = prepare("1"), prepare("1")
    outside = tmp_path / "precious"
    outside.mkdir()
    (outside / "text.txt").write_text("mine")
    (files.folder / "link").symlink_to(outside)
    (files.folder / "stage-1" / "link").symlink_to(outside / "text.txt")
    process = start("rm", files.folder.name)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert str(files.folder) in err
    assert "add --yes" in err
    assert files.plan.exists()
    process = start("rm", "--yes", files.folder.name)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "")
    assert str(files.folder) in err
    assert err.endswith("  with link, which is not of the run\n")
    assert not files.folder.exists()
    assert other.plan.exists()
    assert (outside / "text.txt").read_text() == "mine"


def test_a_run_goes_by_its_name_too(prepare: Prepare) -> None:
    """The newest of several is meant, but for deleting."""
    older = prepare("1")
    parent = older.folder.parent
    older.folder.rename(parent / "20000101T000000Z-test")
    newer = prepare("1")
    assert newer.folder.name.endswith("Z-test")
    assert folder.find("test", parent).folder == newer.folder
    with pytest.raises(ConfigError, match="several runs have this name"):
        catalog.find("test", parent)
    catalog.delete(newer)
    assert catalog.find("test", parent).folder == parent / "20000101T000000Z-test"
    with pytest.raises(ConfigError, match="tes: is no run folder"):
        folder.find("tes", parent)


@pytest.mark.parametrize("what", ["no plan", "other plan", "link", "absent"])
def test_rm_refuses_what_is_no_run_folder(prepare: Prepare, tmp_path: Path, what: str) -> None:
    target = tmp_path / "target"
    if what == "link":
        target.symlink_to(prepare("1").folder)
    elif what != "absent":
        target.mkdir()
        (target / "thesis.txt").touch()
        if what == "other plan":
            (target / "plan.json").write_text('{"world": "domination"}')
    with pytest.raises(ConfigError, match="target"):
        catalog.find(str(target), tmp_path)


def test_watch_shows_all_from_the_start_and_ends_as_the_run_did(
    start: Start, tmp_path: Path, behave: Behave
) -> None:
    behave({1: "wait", 2: "fail"})
    process, files = at_work(start, tmp_path, "1-2")
    assert watch.newest_running(tmp_path / "runs") == files
    shown: list[Event] = []

    def view(event: Event) -> None:
        shown.append(event)
        if event["event"] == "step":
            (files.stage(1).folder / "go").touch()

    outcome = watch.watch(files, view)
    process.communicate(timeout=60)
    assert [event["event"] for event in shown][:3] == ["log", "stage_start", "step"]
    written = [json.loads(line) for line in files.events.read_text().splitlines()]
    assert [event["event"] for event in shown] == [event["event"] for event in written]
    assert outcome.exit_code == process.returncode == 1
    assert outcome.message is not None
    assert "0.02 % of cells spike" in outcome.message
    assert "celltrain resume" in outcome.message
    assert [row["status"] for row in outcome.summary["stages"]] == ["completed", "failed"]


def test_watch_ends_when_the_process_is_gone_without_a_word(
    start: Start, tmp_path: Path, behave: Behave
) -> None:
    behave({1: "wait"})
    process, _ = at_work(start, tmp_path, "1")
    onlooker = start("watch", "--progress", "plain")
    assert onlooker.stderr is not None
    assert "starts" in onlooker.stderr.readline()
    process.kill()
    process.communicate()
    out, err = onlooker.communicate(timeout=60)
    assert onlooker.returncode == 1
    assert "is gone" in err
    assert "celltrain resume" in err
    assert "interrupted: " in out


def test_leaving_a_watch_leaves_the_run_alone(start: Start, tmp_path: Path, behave: Behave) -> None:
    behave({1: "wait"})
    process, files = at_work(start, tmp_path, "1")
    onlooker = start("watch", "--progress", "plain")
    assert onlooker.stderr is not None
    onlooker.stderr.readline()
    onlooker.send_signal(signal.SIGINT)
    out, err = onlooker.communicate(timeout=60)
    assert (onlooker.returncode, out) == (0, "")
    assert "Left alone" in err
    (files.stage(1).folder / "go").touch()
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_watch_keeps_the_code_of_a_run_that_is_over(prepare: Prepare, behave: Behave) -> None:
    files = prepare("1")
    behave({1: "memory forever"})
    ended, _ = run(files)
    assert ended.exit_code == 4
    assert seen(files)[0].exit_code == 4
    with pytest.raises(ConfigError, match="holds no run that is running"):
        watch.newest_running(files.folder.parent)


def test_watch_shows_no_event_that_a_view_cannot(prepare: Prepare) -> None:
    files = prepare("1")
    run(files)
    good = len(seen(files)[1])
    bad: list[Any] = [
        *({"event": "step", "stage": "1"}, {"stage": 1}, {"event": 5, "stage": 1}, [1], "x"),
        *({"event": "step", "stage": 1, key: {}} for key in ("loss", "steps", "epoch")),
        *({"event": "evaluation", "stage": 1, "samples": x} for x in ([["one"]], 5)),
        {"event": "evaluation", "stage": 1, "metrics": {"bleu": "high"}},
        {"event": "stage_done", "stage": 1, "status": "wild"},
        {"event": "step", "stage": 1, "seconds_left": float("nan")},
    ]
    with files.events.open("a") as stream:
        stream.writelines(json.dumps(event) + "\n" for event in bad)
        stream.write('{"event": "step", "stage": 1')
    assert len(seen(files)[1]) == good


def test_a_summary_of_a_stranger_is_read_as_far_as_it_is_one(prepare: Prepare) -> None:
    files = prepare("1-2")
    wild = {"stage": 1, "status": [], "metrics": {"bleu": "x"}, "retries": 5, "seconds": 3.5}
    files.summary.write_text(
        json.dumps({"status": {}, "exit_code": "7", "stages": [wild, 5, {"stage": {}}]})
    )
    said = summary.read(files, folder.read_plan(files))
    assert (said["status"], said["exit_code"]) == ("interrupted", None)
    row = said["stages"][0]
    assert (row["status"], row["metrics"], row["retries"], row["seconds"]) == (
        *("pending", None, []),
        3.5,
    )


def test_compare_tells_what_differs_and_nothing_else(prepare: Prepare) -> None:
    one, other = prepare("1-2", words=["epochs=2"]), prepare("1-3", words=["seed=7", "epochs=2"])
    run(one)
    found = compare.compare([one, other])
    differ = {(line["stage"], line["key"]): line["values"] for line in found["configuration"]}
    assert differ == {(1, "seed"): [0, 7], (2, "seed"): [0, 7]}
    results = {(line["stage"], line["metric"]): line["values"] for line in found["metrics"]}
    assert results[(2, "bleu")] == [pytest.approx(0.2), None]
    assert results[(1, "status")] == ["completed", "pending"]
    assert results[(3, "status")] == [None, "pending"]
    assert (1, "clusters") not in results


def test_compare_is_legible_at_80_columns(start: Start, prepare: Prepare) -> None:
    key = "plasticity.clustering_config.similarity_threshold"
    words = [f"{key}=0.81", "lattice.backend=plain"]
    runs = [prepare("1-3"), prepare("1-3", words=words)]
    out, err = start("compare", *(files.folder.name for files in runs)).communicate(timeout=60)
    assert err == ""
    assert max(map(len, out.splitlines())) <= 80
    assert ["1-3", key, "0.7", "0.81"] in table(out)
    assert ["1-3", "lattice.backend", "auto", "plain"] in table(out)
    assert out.startswith(f"A  {runs[0].folder.name} (interrupted)")
