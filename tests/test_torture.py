"""A short form of every torture: the real command line, small lattices, a few trials."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "torture.py"


def torture(*words: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words], capture_output=True, text=True, timeout=1200
    )
    assert done.stdout, done.stderr
    record: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return record


@pytest.mark.parametrize(
    ("name", "count"),
    [("kill", 2), ("corrupt", 1), ("nan", 2), ("hang", 1), ("oom", 1), ("fuzz", 100)],
)
def test_a_run_survives(name: str, count: int) -> None:
    record = torture(name, "--count", str(count), "--seed", "5")
    assert record["failures"] == []
    assert record["survived"] == record["tried"]
    assert isinstance(record["tried"], int)
    assert record["tried"] >= count


def test_a_run_survives_signals() -> None:
    assert torture("signals", "--count", "1", "--seed", "5")["failures"] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system takes root")
def test_a_run_survives_a_full_disk() -> None:
    assert torture("disk", "--count", "1", "--seed", "5")["failures"] == []


def test_a_short_soak_is_measured() -> None:
    record = torture("soak", "--hours", "0.003")
    assert record["tried"] == 1
    assert isinstance(record["samples"], int)
    assert record["samples"] > 10
