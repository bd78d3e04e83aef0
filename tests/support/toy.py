"""A celltrain on PATH whose stages take seconds: what tests of scripts and documents share."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {  # every stage of every run, unless its command says otherwise
    "CELLTRAIN_LATTICE__DIMENSIONS": "[4,4,4]",
    "CELLTRAIN_LATTICE__CHANNELS": "6",
    "CELLTRAIN_LATTICE__HIDDEN": "8",
    "CELLTRAIN_LATTICE__BACKEND": "plain",
    "CELLTRAIN_BATCH_SIZE": "16",
    "CELLTRAIN_EPOCHS": "2",
    "CELLTRAIN_DATASET_LIMIT": "32",
    "CELLTRAIN_DATA__HELD_OUT": "8",
    "CELLTRAIN_TEXT__EMBEDDING": "16",
    "CELLTRAIN_TEXT__DECODER_HIDDEN": "16",
    "CELLTRAIN_MONITOR__EVALUATE": "8",
    "CELLTRAIN_MONITOR__LOG_EVERY": "0",
    "CUDA_VISIBLE_DEVICES": "",
    "OMP_NUM_THREADS": "1",
}
COMMAND = """#!{python}
import sys
from pathlib import Path
from cell_train.runner import execute

def replay(resolved: Path, events_fd: int) -> list[str]:
    worker = [sys.executable, "-m", "tests.support.replay", str(resolved)]
    return [*worker, "--events-fd", str(events_fd)]

if {replays}:
    execute.execute.__kwdefaults__["argv"] = replay
from cell_train.cli import main
main()
"""


def environment(folder: Path, replays: bool = False) -> dict[str, str]:
    """Put `celltrain` into `folder`; the environment in which it is found, and its stages small.

    With `replays` its workers do not train: see replay.py.
    """
    folder.mkdir()
    command = folder / "celltrain"
    command.write_text(COMMAND.format(python=sys.executable, replays=replays))
    command.chmod(0o755)
    path = f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, **ENVIRONMENT, "PATH": path, "PYTHONPATH": f"{ROOT}"}


def sentences() -> str:
    """A text of 60 lines."""
    return "".join(
        f"the {size} {who} {does}\n"
        for size in ("young", "old", "red", "small")
        for who in ("teacher", "cat", "dog", "child", "doctor")
        for does in ("sings", "runs", "sleeps")
    )


def shell(
    script: str, folder: Path, environment: Mapping[str, str]
) -> "subprocess.CompletedProcess[str]":
    """Run a script with bash, which stops at its first failing line."""
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
    )
