"""Hints name celltrain so that they work where they are printed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
SYSTEM = os.defpath  # where no environment of ours is


def hint(command: list[str], cwd: Path, path: str) -> str:
    """What `celltrain ls` says to run where there is no run."""
    done = subprocess.run(
        [*command, "ls", "--output", "no such folder"],
        cwd=cwd,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    found = re.search(r"start one with (.*)\.$", done.stderr)
    assert found, done.stderr
    return found[1]


def works(words: str, cwd: Path, path: str) -> bool:
    """Whether a shell that is where the hint was read does what it says."""
    done = subprocess.run(
        ["/bin/sh", "-c", f"{words} --help"],
        cwd=cwd,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    return done.returncode == 0 and "[KEY=VALUE]..." in done.stdout


@pytest.mark.parametrize("started", ["script", "module"])
@pytest.mark.parametrize("on_path", [True, False])
@pytest.mark.parametrize("where", ["beside", "elsewhere"])
def test_a_hint_works_where_it_is_printed(
    started: str, on_path: bool, where: str, tmp_path: Path
) -> None:
    path = f"{BIN}{os.pathsep}{SYSTEM}" if on_path else SYSTEM
    cwd = BIN.parent if where == "beside" else tmp_path
    command = {"script": [str(BIN / "celltrain")], "module": [sys.executable, "-m", "cell_train"]}
    said = hint(command[started], cwd, path)
    assert works(said, cwd, path), said
    shown = {"script": "celltrain run", "module": f"{Path(sys.executable).name} -m cell_train run"}
    if on_path:
        assert said == shown[started]
    else:
        assert said == f"{'bin' if where == 'beside' else BIN}/{shown[started]}"


def test_usage_names_the_program_so_that_its_hint_works(tmp_path: Path) -> None:
    done = subprocess.run(
        [BIN / "celltrain", "plan", "--nope"],
        cwd=tmp_path,
        env={**os.environ, "PATH": SYSTEM},
        capture_output=True,
        text=True,
    )
    found = re.search(r"Try '(.*) -h' for help\.", done.stderr)
    assert found, done.stderr
    assert found[1] == f"{BIN}/celltrain plan"
