"""Ctrl-C, SIGTERM and sudden death, through the command line."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.runs import Start, alive, wait_until

Behave = Callable[[dict[int, str]], None]


def worker_pid(tmp_path: Path) -> int | None:
    """The pid the fake worker writes to its log, once it has sent its first step."""
    for log in tmp_path.glob("runs/*/stage-1/worker.log"):
        if "stage 1" in log.read_text() and (log.parent / "metrics.jsonl").exists():
            return int(log.read_text().split()[2])
    return None


def running(start: Start, tmp_path: Path) -> "tuple[subprocess.Popen[str], int]":
    process = start("run", "--stages", "1-2", "--device", "cpu")
    wait_until(lambda: worker_pid(tmp_path) is not None)
    pid = worker_pid(tmp_path)
    assert pid is not None
    return process, pid


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"]
)
def test_a_signal_lets_the_worker_save_and_stops_the_run(
    start: Start, tmp_path: Path, behave: Behave, sent: signal.Signals, code: int
) -> None:
    behave({1: "show"})
    process, pid = running(start, tmp_path)
    process.send_signal(sent)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in out + err
    assert re.search("To go on: .*celltrain resume ", err)
    assert not alive(pid)
    (summary,) = tmp_path.glob("runs/*/summary.json")
    record = json.loads(summary.read_text())
    assert record["status"] == "interrupted"
    assert [row["status"] for row in record["stages"]] == ["interrupted", "pending"]
    events = (summary.parent / "events.jsonl").read_text().splitlines()
    assert json.loads(events[-1])["signal"] == sent.name

    behave({})
    resumed = start("resume", "--json")
    out, _ = resumed.communicate(timeout=60)
    assert resumed.returncode == 0
    assert json.loads(out.splitlines()[-1])["status"] == "completed"


def test_a_worker_stopped_by_someone_else_is_a_failed_stage(
    start: Start, tmp_path: Path, behave: Behave
) -> None:
    behave({1: "slow"})
    process, pid = running(start, tmp_path)
    os.kill(pid, signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "stage 1: the worker was stopped from outside by SIGTERM." in err


def test_a_second_signal_kills_a_deaf_worker_at_once(
    start: Start, tmp_path: Path, behave: Behave
) -> None:
    behave({1: "hang"})
    process, pid = running(start, tmp_path)
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=8)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert not alive(pid)


def test_a_worker_ends_with_its_parent(start: Start, tmp_path: Path, behave: Behave) -> None:
    behave({1: "slow"})
    process, pid = running(start, tmp_path)
    process.kill()
    process.communicate(timeout=60)
    wait_until(lambda: not alive(pid), 10)
    resumed = start("resume")
    _, err = resumed.communicate(timeout=60)
    assert resumed.returncode == 0, err


PARENT = """
import sys
from pathlib import Path
from cell_train.workers import launch
resolved = Path(sys.argv[1])
worker = launch.start(launch.command, resolved, resolved.with_name("worker.log"), {})
print(worker.process.pid, flush=True)
worker.process.wait()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread has to notice")
def test_a_worker_too_busy_with_its_start_to_notice_ends_with_its_parent(tmp_path: Path) -> None:
    resolved = tmp_path / "resolved.yaml"
    os.mkfifo(resolved)
    words = [sys.executable, "-c", PARENT, str(resolved)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        wait_until(lambda: is_read(resolved))
        os.kill(pid, signal.SIGSTOP)  # it can do nothing itself
        parent.kill()
    wait_until(lambda: not alive(pid), 10)


def is_read(fifo: Path) -> bool:
    """Whether a process has opened it."""
    try:
        os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True
