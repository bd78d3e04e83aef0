"""Files are written whole or not at all; of strangers' files none is followed or waited for."""

import errno
import os
from pathlib import Path

import pytest

from cell_train import storage


def refusing(code: int) -> object:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    return refuse


def test_a_file_system_that_cannot_sync_a_folder_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EINVAL, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    storage.write_text(tmp_path / "a", "text")
    assert (tmp_path / "a").read_text() == "text"


def test_a_file_system_without_rename_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "replace", refusing(errno.ENOSYS))
    with pytest.raises(OSError, match="its file system cannot rename files"):
        storage.write_text(tmp_path / "a", "text")
    assert list(tmp_path.iterdir()) == []


def test_two_processes_of_one_number_do_not_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In two containers that share a folder both may be process 1."""
    monkeypatch.setattr(os, "getpid", lambda: 1)
    path = tmp_path / "a"

    def write(stream: object) -> None:
        storage.write_text(path, "inner")
        assert path.read_text() == "inner"
        stream.write(b"outer")  # type: ignore[attr-defined]

    storage.write_atomically(path, write)
    assert path.read_text() == "outer"


@pytest.mark.parametrize("name", ["x" * 250, "é" * 120])
def test_a_name_as_long_as_names_may_be_is_written(tmp_path: Path, name: str) -> None:
    storage.write_text(tmp_path / name, "text")
    assert (tmp_path / name).read_text() == "text"


def test_links_pipes_and_folders_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text('{"a": 1}')
    (tmp_path / "link.json").symlink_to("real.json")
    os.mkfifo(tmp_path / "pipe.json")  # a reader would wait for ever
    (tmp_path / "folder.json").mkdir()
    assert storage.read_json(tmp_path / "real.json") == {"a": 1}
    for name in ("link", "pipe", "folder", "absent"):
        assert storage.read_json(tmp_path / f"{name}.json") is None


def test_nothing_is_appended_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine\n")
    (tmp_path / "log").symlink_to("precious")
    with pytest.raises(OSError, match="symbolic links"):
        storage.append_line(tmp_path / "log", "theirs")
    assert (tmp_path / "precious").read_text() == "mine\n"


def test_bytes_of_a_path_that_are_no_text_come_back(tmp_path: Path) -> None:
    import json

    name = os.fsdecode(b"caf\xe9")
    storage.write_text(tmp_path / "a.json", json.dumps({"path": name}, ensure_ascii=False))
    assert storage.read_json(tmp_path / "a.json") == {"path": name}
