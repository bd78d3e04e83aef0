"""What the cache gives back is what was kept, and nobody else's; else it is made anew."""

import errno
import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cell_train import cache

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="giving files away takes root")
OTHER = 12345


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "celltrain"


class Builder:
    """Builds a file whose content counts the builds; loads it as text."""

    def __init__(self) -> None:
        self.built: list[Path] = []

    def build(self, path: Path) -> None:
        self.built.append(path)
        path.write_text(f"build {len(self.built)}")

    def load(self, path: Path) -> str:
        return path.read_text()

    def get(self, elsewhere: Path | None = None) -> tuple[str, str]:
        return cache.library("step.so", self.build, self.load, elsewhere)


def test_what_was_built_is_kept_closed_to_others(own: Path) -> None:
    mask = os.umask(0o002)  # as on systems that give each user a group
    try:
        builder = Builder()
        assert [builder.get() for _ in range(3)] == [("build 1", "")] * 3
    finally:
        os.umask(mask)
    assert [path.name for path in own.rglob("*") if path.name.startswith(cache.BUILD)] == []
    for path in (own, *own.rglob("*")):
        if not path.name.endswith(".lock"):
            assert not path.stat().st_mode & 0o022, path


HARMS: dict[str, Callable[[Path], object]] = {
    "half": lambda path: path.write_bytes(path.read_bytes()[:3]),
    "empty": lambda path: path.write_bytes(b""),
    "a bit flipped": lambda path: path.write_bytes(b"c" + path.read_bytes()[1:]),
    "no manifest": lambda path: path.with_suffix(".json").unlink(),
    "another manifest": lambda path: path.with_suffix(".json").write_text('{"bytes": 7}'),
    "a link": lambda path: os.symlink(path.rename(path.with_name("x")), path),
    "writable by others": lambda path: path.chmod(0o666),
}


@pytest.mark.parametrize("harm", HARMS)
def test_what_cannot_be_what_was_built_is_built_anew(own: Path, harm: str) -> None:
    builder = Builder()
    builder.get()
    HARMS[harm](own / "steps" / "step.so")
    assert builder.get() == ("build 2", "")
    assert builder.get() == ("build 2", "")


def test_a_sound_library_that_does_not_load_is_built_anew() -> None:
    builder = Builder()
    builder.get()

    def picky(path: Path) -> str:
        if "1" in path.read_text():
            raise OSError("libgomp.so.1: cannot open shared object file")
        return path.read_text()

    assert cache.library("step.so", builder.build, picky)[0] == "build 2"


def foreign(path: Path) -> None:
    os.chown(path, OTHER, OTHER)


@AS_ROOT
@pytest.mark.parametrize("which", ["", "steps", "steps/step.so", "steps/step.json"])
def test_what_another_user_owns_is_not_loaded(own: Path, tmp_path: Path, which: str) -> None:
    builder = Builder()
    builder.get()
    foreign(own / which)
    text, remark = builder.get()
    assert text == "build 2"
    if "step." not in which:  # the folder: nothing can be kept in it
        assert remark == f"cannot be kept: {own / which} belongs to another user"
        assert not builder.built[-1].parent.exists()


def test_a_folder_in_which_others_may_rename_is_not_trusted(own: Path) -> None:
    builder = Builder()
    builder.get()
    own.parent.chmod(0o777)
    assert builder.get() == ("build 2", f"cannot be kept: other users may write to {own.parent}")
    own.parent.chmod(0o1777)  # as /tmp: nobody can take what is another's away
    assert builder.get() == ("build 1", "")


def test_without_a_home_a_library_is_built_for_the_process_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    builder = Builder()
    text, remark = builder.get()
    assert (text, cache.location()) == ("build 1", None)
    assert remark.startswith("cannot be kept: no home folder")
    assert cache.read_record("x.json") is None


def test_where_no_folder_can_be_had_the_run_s_own_serves(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.parent.write_text("a file in the folder's place")
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / "gone"))
    builder = Builder()
    assert builder.get(tmp_path)[0] == "build 1"
    assert list(tmp_path.iterdir()) == [own.parent]  # it leaves nothing behind
    with pytest.raises(OSError, match=r"File exists|Not a directory"):
        builder.get(None)


def test_a_full_cache_is_no_reason_to_fail(monkeypatch: pytest.MonkeyPatch, own: Path) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    builder = Builder()
    monkeypatch.setattr(os, "fsync", full)
    assert builder.get() == ("build 2", "cannot be kept: No space left on device")


def test_of_processes_that_need_the_same_one_builds(own: Path, tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from cell_train import cache\n"
        "def build(path):\n"
        f"    with open({str(tmp_path / 'builds')!r}, 'a') as log: log.write('x')\n"
        "    time.sleep(0.5); path.write_text('built')\n"
        "assert cache.library('step.so', build, Path.read_text) == ('built', '')\n"
    )
    started = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(4)]
    assert [process.wait(60) for process in started] == [0] * 4
    assert (tmp_path / "builds").read_text() == "x"


def test_on_a_file_system_without_locks_all_build(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    assert Builder().get() == ("build 1", "")


def test_records_come_back_or_not_at_all(own: Path) -> None:
    path = cache.keep_record("peaks.json", {"peaks": {"a": 1234}})
    assert cache.read_record("peaks.json") == {"peaks": {"a": 1234}}
    path.write_text(path.read_text().replace("1234", "1235"))
    assert cache.read_record("peaks.json") is None


def test_what_killed_builds_left_goes(own: Path) -> None:
    left = cache.room("steps", make=True) / f"{cache.BUILD}x"
    left.mkdir()
    (left / "step.o").touch()
    os.utime(left, (1, 1))
    Builder().get()
    assert not left.exists()
