"""Ctrl-C, SIGTERM and sudden death, through the command line."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cell_train import lived
from cell_train.events import Event
from cell_train.run_folder import locks
from cell_train.runner import execute
from cell_train.workers import supervisor
from tests.support.runs import Prepare, Start, alive, fake_worker, wait_until

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


def test_ctrl_z_stops_the_worker_too_and_both_go_on(
    start: Start, tmp_path: Path, behave: Behave
) -> None:
    behave({1: "slow"})
    process, pid = running(start, tmp_path)
    process.send_signal(signal.SIGTSTP)
    wait_until(lambda: state(process.pid) == state(pid) == "T")
    process.send_signal(signal.SIGCONT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err


def test_a_signal_is_acknowledged_while_the_worker_is_deaf(
    start: Start, tmp_path: Path, behave: Behave
) -> None:
    behave({1: "hang"})
    process, _ = running(start, tmp_path)
    process.send_signal(signal.SIGHUP)
    assert process.stderr is not None
    began = time.monotonic()
    assert any("stopping: its step is finished and saved first" in x for x in process.stderr)
    assert time.monotonic() - began < supervisor.GRACE / 2  # it is not said at the end
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=8)
    assert process.returncode == 129  # of the first


def test_a_jump_of_the_clock_is_no_silence_and_no_time_limit(
    prepare: Prepare, behave: Behave, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it looks to a parent that was stopped, or whose machine slept, with its worker."""
    jump = [0.0]
    clock = lived.Clock(lambda: time.monotonic() + jump[0])
    monkeypatch.setattr(lived, "_clock", [clock])
    behave({1: "slow"})

    def shown(event: Event) -> None:
        if event["event"] == "step":
            clock.look()
            jump[0] += 10_000  # longer than the watchdog waits
            clock.look()

    files = prepare("1")
    outcome = execute.execute(files, shown, timeout=300, argv=fake_worker)
    assert outcome.exit_code == 0
    assert outcome.summary["stages"][0]["restarts"] == 0


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
def test_a_worker_too_busy_with_its_start_to_notice_ends_with_its_parent(prepare: Prepare) -> None:
    stage = prepare("1").stage(1)
    held = locks.take(stage.lock)  # so that the worker waits where it has read its stage
    assert held is not None
    words = [sys.executable, "-c", PARENT, str(stage.resolved)]
    with (
        contextlib.closing(held),
        subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as parent,
    ):
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        wait_until(lambda: "_yaml" in Path(f"/proc/{pid}/maps").read_text())
        os.kill(pid, signal.SIGSTOP)  # it can do nothing itself
        parent.kill()
    wait_until(lambda: not alive(pid), 10)


def state(pid: int) -> str:
    """R, S, T and so on; empty where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]
    except OSError:
        return ""
