"""Runs with the fake worker in the trainer's place."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from cell_train.events import Event
from cell_train.planning import plan_file
from cell_train.planning.cost import history
from cell_train.run_folder import folder
from cell_train.run_folder.paths import RunFiles
from cell_train.runner import crash_report
from cell_train.runner.execute import Outcome, execute
from tests.conftest import MakePlan

ROOT = Path(__file__).parents[2]
WORKER = Path(__file__).with_name("fake_worker.py")

__all__ = [  # the fixtures, for the conftest.py of a room
    "_import_from_the_checkout",
    "_invented_peaks_are_not_remembered",
    "_no_doctor",
    "behave",
    "prepare",
    "start",
]

Prepare = Callable[..., RunFiles]
Start = Callable[..., "subprocess.Popen[str]"]

COMMAND_LINE = """
import sys
from cell_train.planning.cost import history
from cell_train.runner import crash_report, execute
from tests.support.runs import fake_worker
execute.execute.__kwdefaults__["argv"] = fake_worker
crash_report.DOCTOR_LIMIT = 0
history.remember = lambda *_: None
from cell_train.cli import main
main()
"""


def fake_worker(resolved: Path, events_fd: int) -> list[str]:
    return [sys.executable, str(WORKER), str(resolved), "--events-fd", str(events_fd)]


@pytest.fixture(autouse=True)
def _import_from_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for variable in ("CI", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture(autouse=True)
def _no_doctor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures are many here, and each would wait seconds for it."""
    monkeypatch.setattr(crash_report, "DOCTOR_LIMIT", 0)


@pytest.fixture(autouse=True)
def _invented_peaks_are_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "remember", lambda *_: None)


@pytest.fixture
def behave(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[int, str]], None]:
    """Tell the fake worker what to do at which stage."""
    return lambda stages: monkeypatch.setenv("FAKE_WORKER", json.dumps(stages))


@pytest.fixture
def prepare(tmp_path: Path, make_plan: MakePlan) -> Prepare:
    """A run folder, ready to run."""

    def make(
        which: str = "1-2",
        require: Sequence[str] = (),
        start_from: Path | None = None,
        words: Sequence[str] = (),
    ) -> RunFiles:
        plan = make_plan(which, words)
        record = plan_file.record(plan, {}, start_from) | {"require": list(require)}
        return folder.prepare(record, plan.resolved(), tmp_path / "runs", "test")

    return make


def run(files: RunFiles, timeout: float | None = None) -> tuple[Outcome, list[Event]]:
    """Run a prepared folder with the fake worker; all events that were shown."""
    shown: list[Event] = []
    return execute(files, shown.append, timeout=timeout, argv=fake_worker), shown


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Start the command line with the fake worker behind it, in an empty folder."""

    def make(*words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-c", COMMAND_LINE, *words],
            cwd=tmp_path,
            env=dict(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,  # not an orphaned one, which SIGTSTP does not stop
        )

    return make


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for something that must become true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process runs (one that has ended and not been waited for does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"
