"""The crash capsule: all that someone needs who was not there when a run failed."""

import contextlib
import importlib.metadata
import json
import os
import platform
import shlex
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from cell_train import __version__, run_files
from cell_train.errors import CelltrainError
from cell_train.run_files import RunFiles

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
PACKAGES = ("torch", "numpy", "omegaconf", "PyYAML", "rich", "typer", "psutil", "nvidia-ml-py")
VARIABLES = ("CELLTRAIN_", "CUDA_", "OMP_", "GOMP_", "MALLOC_", "PYTORCH_", "XDG_CACHE_HOME")
LOG_LINES, LOG_BYTES = 200, 1 << 16


def write(files: RunFiles, error: Exception, stage: int | None, budget: Any) -> bool:
    """Fill `crash/` anew; whether the disk took it.

    report.json, and of the stage that failed: resolved.yaml, and worker.log's end.
    """
    record = {
        "time": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "stage": stage,
        "kind": KINDS.get(type(error).__name__, "bug"),
        "error": str(error) or type(error).__name__,
        "exit_code": error.exit_code if isinstance(error, CelltrainError) else 1,
        "resume": resume_command(files),
        "budget": budget,
        "environment": environment(files.folder),
    }
    try:
        shutil.rmtree(files.crash, ignore_errors=True)
        files.crash.mkdir()
        run_files.write_text(files.crash / "report.json", json.dumps(record, indent=1) + "\n")
        if stage is not None:
            of = files.stage(stage)
            lines = log_tail(of.log, LOG_LINES)
            run_files.write_text(files.crash / "worker.log", "".join(f"{x}\n" for x in lines))
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(of.resolved, files.crash / "resolved.yaml")
    except OSError:
        return False
    return True


def environment(folder: Path) -> dict[str, Any]:
    """Versions, the machine, and the variables that change how a worker runs."""
    memory = psutil.virtual_memory()
    return {
        "celltrain": __version__,
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "platform": platform.platform(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "memory_bytes": memory.total,
        "memory_available_bytes": memory.available,
        "disk_free_bytes": shutil.disk_usage(folder).free,
        "variables": _chosen(os.environ.items()),
    }


def resume_command(files: RunFiles) -> str:
    return f"celltrain resume {shlex.quote(str(files.folder))}"


def log_tail(path: Path, lines: int) -> list[str]:
    """The last lines of a worker's log."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - LOG_BYTES))
            return stream.read().decode(errors="replace").splitlines()[-lines:]
    except OSError:
        return []


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _chosen(variables: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name: value for name, value in variables if name.startswith(VARIABLES)}
