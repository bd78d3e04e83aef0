"""What is a run and what is not, for every command that deletes, writes or picks the newest."""

import errno
import fcntl
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cell_train.errors import ConfigError, NotSaved
from cell_train.run_folder import catalog, compare, folder, identity
from cell_train.run_folder.identity import Kind
from cell_train.run_folder.paths import RunFiles
from cell_train.runner import watch
from tests.support.runs import Prepare, Start, run, wait_until

Behave = Callable[[dict[int, str]], None]
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root")


def project(files: RunFiles, place: Path) -> Path:
    """A folder of somebody's work in which the plan of a run was saved."""
    place.mkdir()
    (place / "notes.md").write_text("weeks of work")
    (place / "plan.json").write_bytes(files.plan.read_bytes())
    return place


def test_a_folder_with_a_plan_is_no_run(prepare: Prepare, tmp_path: Path) -> None:
    place = project(prepare("1"), tmp_path / "project")
    assert identity.look(place)[0] is Kind.FOREIGN
    for find in (catalog.find, folder.find):
        with pytest.raises(ConfigError, match=r"is no run folder .* no stage-1/resolved.yaml"):
            find(str(place), tmp_path / "runs")
    assert (place / "notes.md").exists()


@pytest.mark.parametrize("word", [".", "..", "", "/"])
def test_rm_takes_no_folder_without_a_name(
    prepare: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    files = prepare("1")
    monkeypatch.chdir(files.stage(1).folder if word == ".." else files.folder)
    with pytest.raises(ConfigError, match="is no run folder"):
        catalog.find(word, tmp_path / "runs")


def test_a_name_of_two_things_deletes_neither(
    prepare: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = prepare("1")
    project(files, tmp_path / "test")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="two things have this name"):
        catalog.find("test", tmp_path / "runs")
    assert catalog.find(files.folder.name, tmp_path / "runs") == files
    assert folder.find("test", tmp_path / "runs") == files  # but for deleting the run is meant


def test_a_path_and_a_name_of_two_runs_mean_none(
    prepare: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older, newer = prepare("1"), prepare("1")
    older.folder.rename(tmp_path / "test")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="two runs have this name"):
        folder.find("test", tmp_path / "runs")
    assert folder.find("./test", tmp_path / "runs").folder == tmp_path / "test"
    assert folder.find(newer.folder.name, tmp_path / "runs") == newer


def test_runs_of_before_the_marker_are_runs_still(prepare: Prepare, tmp_path: Path) -> None:
    files = prepare("1-2")
    files.marker.unlink()
    assert identity.look(files.folder)[0] is Kind.RUN
    assert folder.find("test", tmp_path / "runs") == files
    (files.stage(2).resolved).unlink()
    assert identity.look(files.folder)[0] is Kind.FOREIGN


def test_two_runs_of_one_name_in_one_second_are_both_found(
    prepare: Prepare, tmp_path: Path
) -> None:
    older = prepare("1")
    record = json.loads(older.plan.read_text())
    now = datetime(2026, 1, 2, tzinfo=UTC)
    first, again = (
        folder.prepare(record | {"stages": []}, [], tmp_path / "r", "a", now=now) for _ in "12"
    )
    assert again.folder.name == "20260102T000000Z-a-2"
    for files in (first, again):
        files.plan.write_bytes(older.plan.read_bytes())
    found = folder.named("a", tmp_path / "r")
    assert {one.folder for one in found} == {first.folder, again.folder}
    assert folder.named("a-2", tmp_path / "r") == []
    again.marker.unlink()  # of before the marker: it may be of either name
    for stage in record["stages"]:
        again.stage(stage["stage"]).folder.mkdir()
        again.stage(stage["stage"]).resolved.touch()
    assert len(folder.named("a", tmp_path / "r")) == 2
    assert len(folder.named("a-2", tmp_path / "r")) == 1


def test_a_run_of_a_newer_celltrain_is_left_alone(prepare: Prepare, tmp_path: Path) -> None:
    files = prepare("1")
    record = json.loads(files.marker.read_text()) | {"format": 2, "version": "9.0"}
    files.marker.write_text(json.dumps(record))
    notes: list[str] = []
    assert folder.all_runs(tmp_path / "runs", notes.append) == []
    assert "is a run of celltrain 9.0" in notes[0]
    with pytest.raises(ConfigError, match="upgrade celltrain"):
        catalog.find(str(files.folder), tmp_path)


def test_what_is_killed_as_it_begins_is_listed_and_can_go(
    start: Start, prepare: Prepare, tmp_path: Path
) -> None:
    sound = prepare("1")
    born = prepare("1")
    born.plan.unlink()
    empty = tmp_path / "runs" / "20260101T000000Z-x"
    empty.mkdir()
    (tmp_path / "runs" / "mine").mkdir()  # empty, but no run's name
    _, err = start("ls").communicate(timeout=60)
    assert f"rm {born.folder.name} removes it" in err
    assert f"rm {empty.name} removes it" in err
    assert folder.all_runs(tmp_path / "runs") == [sound]
    for name in (born.folder.name, empty.name):
        catalog.delete(catalog.find(name, tmp_path / "runs"))
    assert sorted(tmp_path.glob("runs/*")) == sorted([sound.folder, tmp_path / "runs" / "mine"])
    with pytest.raises(ConfigError, match="is no run folder"):
        catalog.find("mine", tmp_path / "runs")


def test_what_an_interrupted_rm_leaves_can_go(
    prepare: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = prepare("1")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", interrupted)
        with pytest.raises(KeyboardInterrupt):
            catalog.delete(files)
    (left,) = (tmp_path / "runs").iterdir()
    assert left.name.startswith(identity.ASIDE)
    catalog.delete(catalog.find(left.name, tmp_path / "runs"))
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.parametrize("name", ["nowhere", "precious.txt", "folder"])
def test_a_lock_that_is_a_link_leads_nowhere(prepare: Prepare, tmp_path: Path, name: str) -> None:
    (tmp_path / "precious.txt").write_text("mine\n" * 5000)
    (tmp_path / "folder").mkdir()
    acts: list[Callable[[RunFiles], object]]
    acts = [lambda files: folder.locked(files).__enter__(), catalog.delete]
    for act in acts:
        files = prepare("1")
        files.lock.unlink(missing_ok=True)
        files.lock.symlink_to(tmp_path / name)
        if act is catalog.delete:
            act(files)
            assert not files.folder.exists()
        else:
            with pytest.raises(ConfigError, match=r"\.lock"):
                act(files)
    assert (tmp_path / "precious.txt").read_text() == "mine\n" * 5000
    assert not (tmp_path / "nowhere").exists()


def test_a_lock_that_is_a_second_name_of_a_file_loses_nothing(
    prepare: Prepare, tmp_path: Path
) -> None:
    (tmp_path / "precious.txt").write_text("mine\n" * 5000)
    files = prepare("1")
    os.link(tmp_path / "precious.txt", files.lock)
    with folder.locked(files):
        assert folder.running(files)
    assert (tmp_path / "precious.txt").read_text() == "mine\n" * 5000


def test_links_and_pipes_keep_a_run_from_being_taken_up(prepare: Prepare) -> None:
    makes: list[Callable[[Path], object]]
    makes = [lambda path: path.symlink_to("/etc/hostname"), os.mkfifo]
    for make in makes:
        files = prepare("1")
        make(files.stage(1).folder / "x")
        with pytest.raises(ConfigError, match="stage-1/x: is "):
            run(files)


def test_a_pipe_in_a_file_s_place_keeps_nobody_waiting(prepare: Prepare, tmp_path: Path) -> None:
    files = prepare("1")
    sound = prepare("1")
    files.plan.unlink()
    os.mkfifo(files.plan)
    os.mkfifo(sound.summary)
    os.mkfifo(sound.stage(1).metrics)
    notes: list[str] = []
    assert folder.find(None, tmp_path / "runs", notes.append) == sound
    assert "is no plain file" in notes[0]
    assert catalog.overview(sound)["status"] == "interrupted"


def test_a_damaged_newest_run_is_passed_over_with_a_note(prepare: Prepare, tmp_path: Path) -> None:
    sound, damaged = prepare("1"), prepare("1")
    damaged.plan.write_text("{")
    os.utime(sound.plan, (1e9, 1e9))
    for name in (None, "test"):
        notes: list[str] = []
        assert folder.find(name, tmp_path / "runs", notes.append) == sound
        assert str(damaged.plan) in notes[0]


@AS_ROOT
def test_a_folder_that_may_not_be_read_stops_no_command(
    prepare: Prepare, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    files = prepare("1")
    run(files)
    place = Path(tempfile.mkdtemp())  # those of pytest are closed to others
    place.chmod(0o755)
    shutil.copytree(tmp_path / "runs", place / "runs")
    (place / "runs" / "lost+found").mkdir(mode=0o700)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups([])
            os.setgid(12345)
            os.setuid(12345)
            notes: list[str] = []
            os.chdir(place)
            assert folder.all_runs(Path("runs"), notes.append)[0].folder.name == files.folder.name
            assert "lost+found: cannot be read (Permission denied)" in notes[0], notes
            here = folder.find("test", Path("runs"))
            assert folder.status(here) == "completed"
            assert compare.compare([here, here])["configuration"] == []
            with pytest.raises(ConfigError, match="no unfinished run"):
                folder.find(None, Path("runs"))
            with pytest.raises(ConfigError, match="no run that is running"):
                watch.newest_running(Path("runs"))
            code = 0
        except BaseException as error:
            sys.stderr.write(repr(error))
        finally:
            os._exit(code)
    ended = os.waitpid(child, 0)[1]
    shutil.rmtree(place)
    assert ended == 0, capfd.readouterr().err


def test_a_run_that_is_moved_while_it_runs_ends_and_says_where_it_is(
    start: Start, tmp_path: Path, behave: Behave
) -> None:
    behave({1: "wait"})
    process = start("run", "--stages", "1", "--quiet")
    wait_until(lambda: any(tmp_path.glob("runs/*/stage-1/metrics.jsonl")))
    (files,) = folder.all_runs(tmp_path / "runs")
    moved = files.folder.rename(tmp_path / "moved")
    (moved / "stage-1" / "go").touch()
    files.stage(1).folder.mkdir(parents=True)
    (files.stage(1).folder / "go").touch()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"was moved or deleted while the run went on; it is {moved} now" in err


def test_a_check_of_the_place_is_quiet_while_nothing_moves(
    prepare: Prepare, tmp_path: Path
) -> None:
    files = prepare("1")
    with folder.locked(files) as here:
        here()
        files.folder.rename(tmp_path / "elsewhere")
        with pytest.raises(NotSaved, match="elsewhere now"):
            here()


def test_without_locks_two_processes_of_one_machine_see_each_other(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    files = prepare("1")
    monkeypatch.setattr(fcntl, "flock", none)
    with folder.locked(files):
        assert folder.running(files)
        with pytest.raises(ConfigError, match=f"being run by process {os.getpid()}"):
            folder.locked(files).__enter__()
    assert not folder.running(files)


def test_temporary_files_of_killed_processes_are_told_and_go(
    start: Start, prepare: Prepare
) -> None:
    files = prepare("1")
    left = [files.folder / ".plan.json.1.tmp", files.stage(1).folder / ".resolved.yaml.1.tmp"]
    for path in left:
        path.touch()
    _, err = start("ls").communicate(timeout=60)
    assert all(f"{path}: was left" in err for path in left)
    run(files)
    assert not any(path.exists() for path in left)


def test_what_a_run_appends_to_has_no_second_name(prepare: Prepare, tmp_path: Path) -> None:
    """As a backup by cp -al has: it must stay what it was."""
    files = prepare("1")
    for path in (files.events, files.stage(1).metrics, files.stage(1).log):
        path.write_text("before\n")
        os.link(path, tmp_path / path.name)
    run(files)
    for path in (files.events, files.stage(1).metrics, files.stage(1).log):
        assert (tmp_path / path.name).read_text() == "before\n"
        assert path.read_text().startswith("before\n")
        assert path.read_text() != "before\n"
