"""What is shown never ends who shows it, and codes are those of the work."""

import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cell_train import streams
from tests.support.runs import (
    COMMAND_LINE,
    _import_from_the_checkout,
    behave,
    wait_until,
)

__all__ = ["_import_from_the_checkout", "behave"]
Behave = Callable[[dict[int, str]], None]
RUN = (sys.executable, "-c", COMMAND_LINE, "run", "--stages", "1", "--device", "cpu")
FULL = Path("/dev/full")  # takes nothing: no space left on the device


def stream(descriptor: int, encoding: str = "utf-8") -> Any:
    return streams._Stream(streams._Descriptor(descriptor), encoding)


def summary(folder: Path) -> dict[str, Any]:
    (path,) = folder.glob("runs/*/summary.json")
    record: dict[str, Any] = json.loads(path.read_text())
    return record


def test_what_an_encoding_lacks_is_said_otherwise(tmp_path: Path) -> None:
    with (tmp_path / "said").open("wb") as file:
        said = stream(file.fileno(), "latin-1")
        said.write("✓ 4×4 café 日 \udcff\n")
    assert (tmp_path / "said").read_bytes() == "+ 4×4 café \\u65e5 \\udcff\n".encode("latin-1")


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii", "euc-jp", "none such", None])
@pytest.mark.parametrize("text", ["café 日本 😀", "half \ud83d a character"])
def test_json_is_json_in_every_encoding(encoding: str | None, text: str) -> None:
    line = streams.as_json({"text": text}, encoding)
    assert json.loads(line) == {"text": text}
    line.encode("utf-8" if encoding == "utf-8" else "ascii")


def test_a_reader_that_left_is_known_and_nothing_is_raised() -> None:
    readable, writable = os.pipe()
    said = stream(writable)
    said.write("one\n")
    assert streams.lost(said) is None
    os.close(readable)
    for _ in range(3):
        said.write("two\n")
    assert streams.reader_left(said)
    os.close(writable)


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full")
def test_a_full_disk_is_no_reader_that_left() -> None:
    with FULL.open("wb") as file:
        said = stream(file.fileno())
        said.write("one\n")
        assert streams.lost(said) is not None
        assert not streams.reader_left(said)


def test_a_disk_that_has_room_again_is_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    readable, writable = os.pipe()
    said, write = stream(writable), os.write

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.write", full)
    said.write("lost\n")
    monkeypatch.setattr("os.write", write)
    said.write("kept\n")
    assert os.read(readable, 100) == b"kept\n"
    assert streams.lost(said) is not None  # something is
    os.close(readable)
    os.close(writable)


def test_a_reader_who_reads_nothing_for_now_holds_nobody_up() -> None:
    readable, writable = os.pipe()
    said = stream(writable)
    line = "x" * 999 + "\n"
    for _ in range(1000):  # a pipe takes 64 KiB
        said.write(line)
    taken: list[bytes] = []
    reading = threading.Thread(target=lambda: taken.append(io.FileIO(readable).readall()))
    reading.start()
    said.buffer.raw.drain()
    os.close(writable)
    reading.join()
    assert taken[0] == 1000 * line.encode()


def test_who_is_to_hurry_waits_for_nobody() -> None:
    readable, writable = os.pipe()
    said = stream(writable)
    said.raw.patient = False
    for _ in range(100):
        said.write("x" * 999 + "\n")
    said.raw.drain()
    assert streams.lost(said) is not None
    assert not streams.reader_left(said)
    os.close(readable)
    os.close(writable)


@pytest.mark.parametrize(
    ("redirection", "code", "says"),
    [
        (">/dev/full", 1, "standard output: No space left on device; what was said is not whole."),
        (">&-", 0, ""),
        ("2>&-", 0, ""),
        (">/dev/full 2>&-", 1, ""),
        ("<&- >&- 2>&-", 0, ""),
    ],
)
@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full")
def test_what_is_owed_and_not_delivered_is_exit_1(redirection: str, code: int, says: str) -> None:
    word = f"{sys.executable} -P -m cell_train --version"
    done = subprocess.run(f"{word} {redirection}", shell=True, capture_output=True, text=True)
    assert done.returncode == code
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_completes_whatever_becomes_of_what_it_says(tmp_path: Path) -> None:
    words = " ".join(f"'{word}'" for word in RUN)
    for index, redirection in enumerate((">/dev/full 2>/dev/full", "<&- >&- 2>&-", "2>&1 | true")):
        folder = tmp_path / str(index)
        folder.mkdir()
        script = f"set -o pipefail; {words} --progress plain {redirection}"
        done = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, (redirection, done.stderr)
        assert summary(folder)["status"] == "completed"


def test_a_run_whose_events_nobody_reads_stops_as_by_sigterm(
    tmp_path: Path, behave: Behave
) -> None:
    behave({1: "show"})
    process = subprocess.Popen(
        [*RUN, "--json", "-q"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "Nobody reads the events" in err
    assert re.search(r"To go on: .*celltrain resume", err)
    assert summary(tmp_path)["status"] == "interrupted"


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-16"])
def test_a_run_says_all_in_any_encoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    done = subprocess.run([*RUN, "--json", "-q"], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.decode(encoding).splitlines()]
    assert told[-1]["status"] == "completed"


@pytest.mark.parametrize("ignored", [True, False])
def test_a_terminal_that_is_closed_is_sighup_or_nothing(
    tmp_path: Path, behave: Behave, ignored: bool
) -> None:
    """Where SIGHUP is ignored (nohup, disown) the run goes on; else it saves and ends with 129."""
    behave({1: "show"})
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
        os.chdir(tmp_path)
        os.execv(RUN[0], [*RUN, "--progress", "plain"])
    wait_until(lambda: any(tmp_path.glob("runs/*/stage-1/metrics.jsonl")))
    os.close(terminal)
    _, state = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(state) == (0 if ignored else 129)
    assert summary(tmp_path)["status"] == ("completed" if ignored else "interrupted")
