"""What a worker is started with."""

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from cell_train import cache
from cell_train.config.schema import Execution
from cell_train.workers import launch

EXECUTION = Execution("cpu", 2, "fp32", 8, 4, 1, 100, 10**9, 2 * 10**9)


def test_the_command_is_exactly_this() -> None:
    resolved = Path("/runs/x/stage-1/resolved.yaml")
    assert launch.command(resolved, 7) == [
        sys.executable,
        "-P",
        "-m",
        "cell_train.training.worker",
        "/runs/x/stage-1/resolved.yaml",
        "--events-fd",
        "7",
    ]


def test_the_environment_follows_the_device() -> None:
    on_cpu = launch.settings(EXECUTION)
    assert on_cpu["CUDA_VISIBLE_DEVICES"] == ""
    assert on_cpu["OMP_NUM_THREADS"] == "2"
    assert on_cpu.keys() >= launch.ALLOCATOR.keys()
    on_gpu = launch.settings(replace(EXECUTION, device="cuda:GPU-1-2", threads=0))
    assert on_gpu["CUDA_VISIBLE_DEVICES"] == "GPU-1-2"
    assert "OMP_NUM_THREADS" not in on_gpu
    assert on_gpu.keys() >= launch.GPU.keys()
    assert on_gpu["TRITON_CACHE_DIR"] == str(cache.room("triton"))
    assert not on_cpu.keys() & launch.GPU.keys()


def test_a_worker_inherits_its_pipes_and_nothing_else(tmp_path: Path) -> None:
    """The worker lists its own open descriptors on the event pipe."""
    script = (
        "import json, os, sys; fd = int(sys.argv[1])\n"
        "print('to the log'); print('errors too', file=sys.stderr)\n"
        "seen = sorted(int(n) for n in os.listdir('/proc/self/fd'))\n"
        "os.write(fd, json.dumps([fd, seen, os.getsid(0) == os.getpid(),"
        " os.environ['PYTHONUNBUFFERED']]).encode())\n"
    )
    held = (tmp_path / "held").open("w")
    log = tmp_path / "worker.log"
    log.write_text("before\n")
    worker = launch.start(
        lambda resolved, fd: [sys.executable, "-c", script, str(fd)],
        tmp_path / "resolved.yaml",
        log,
        launch.settings(EXECUTION),
    )
    assert worker.process.wait(60) == 0
    with open(worker.events, "rb") as pipe:
        fd, seen, own_session, unbuffered = json.loads(pipe.read())
    held.close()
    assert own_session
    assert unbuffered == "1"
    assert len(set(seen) - {0, 1, 2, fd}) == 1  # the listing's own
    assert log.read_text() == "before\nto the log\nerrors too\n"
    assert worker.process.stdin is not None
    worker.process.stdin.close()


def test_a_machine_without_a_temporary_folder_has_the_run_s_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    script = "import os, sys; os.write(int(sys.argv[1]), os.environ['TMPDIR'].encode())"
    worker = launch.start(
        lambda resolved, fd: [sys.executable, "-c", script, str(fd)],
        tmp_path / "resolved.yaml",
        tmp_path / "worker.log",
        launch.settings(EXECUTION),
    )
    assert worker.process.wait(60) == 0
    with open(worker.events, "rb") as pipe:
        assert pipe.read().decode() == str(tmp_path)
    assert worker.process.stdin is not None
    worker.process.stdin.close()


def test_a_quota_on_cores_decides_where_nobody_does(monkeypatch: pytest.MonkeyPatch) -> None:
    free = replace(EXECUTION, threads=0)
    monkeypatch.setattr(launch, "under_quota", lambda: 3)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert launch.settings(free)["OMP_NUM_THREADS"] == "3"
    assert launch.settings(EXECUTION)["OMP_NUM_THREADS"] == "2"
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert "OMP_NUM_THREADS" not in launch.settings(free)
