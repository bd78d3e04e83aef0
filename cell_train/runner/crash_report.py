"""The crash capsule: all that someone needs who was not there when a run failed."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cell_train import invocation, storage
from cell_train.errors import CelltrainError
from cell_train.run_folder.paths import RunFiles
from cell_train.workers import launch

KINDS = {  # what an error's class says about the cause; any other is a bug
    "Killed": "signal",
    "Hung": "hang",
    "OutOfMemory": "memory",
    "BudgetError": "memory",
    "Diverged": "numbers",
    "DeadStart": "numbers",
    "DataError": "data",
    "ConfigError": "configuration",
    "CheckpointError": "checkpoint",
    "NotSaved": "disk",
}
DOCTOR_LIMIT = 10.0  # seconds that a failed run waits for `celltrain doctor`
LOG_LINES, LOG_BYTES = 200, 1 << 16


def write(files: RunFiles, error: Exception, stage: int | None, budget: Any) -> bool:
    """Fill `crash/` anew; whether the disk took it.

    report.json, doctor.json, and of the stage that failed: resolved.yaml, and worker.log's end.
    """
    record = {
        "time": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "stage": stage,
        "kind": KINDS.get(type(error).__name__, "bug"),
        "error": str(error) or type(error).__name__,
        "exit_code": error.exit_code if isinstance(error, CelltrainError) else 1,
        "resume": resume_command(files),
        "budget": budget,
    }
    try:
        shutil.rmtree(files.crash, ignore_errors=True)
        files.crash.mkdir()
        storage.write_text(files.crash / "report.json", json.dumps(record, indent=1) + "\n")
        if stage is not None:
            of = files.stage(stage)
            lines = log_tail(of.log, LOG_LINES)
            storage.write_text(files.crash / "worker.log", "".join(f"{x}\n" for x in lines))
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(of.resolved, files.crash / "resolved.yaml")
        # last, for it may take seconds
        storage.write_text(files.crash / "doctor.json", json.dumps(_doctor(files), indent=1))
    except OSError:
        return False
    return True


def _doctor(files: RunFiles) -> dict[str, Any]:
    """What `celltrain doctor` says now, in a process of its own: whatever has gone wrong on this
    machine, the run must end."""
    words = [*("-m", "cell_train", "doctor", "--json"), "--output", str(files.folder)]
    process = subprocess.Popen(
        [*launch.PYTHON, *words],
        env=launch.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        facts: dict[str, Any] = json.loads(process.communicate(timeout=DOCTOR_LIMIT)[0])
        return facts
    except subprocess.TimeoutExpired:
        return {"error": f"celltrain doctor took longer than {DOCTOR_LIMIT:g} s"}
    except ValueError:
        return {"error": f"celltrain doctor ended with {process.returncode}"}
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with all it has started
        process.communicate()


def resume_command(files: RunFiles) -> str:
    return invocation.command("resume", files.folder)


def log_tail(path: Path, lines: int) -> list[str]:
    """The last lines of a worker's log."""
    try:
        with storage.open_plain(path) as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - LOG_BYTES))
            return stream.read().decode(errors="replace").splitlines()[-lines:]
    except OSError:
        return []
