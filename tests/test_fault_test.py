"""A short form of every fault: the real command line, small lattices, a few trials."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.toy import ROOT

NAMES = ["kill", "signals", "disk", "corrupt", "nan", "hang", "oom", "soak", "fuzz"]
NAMES += ["cache", "places", "foreign", "streams", "suspend", "combinations"]
MAY_MOUNT = os.geteuid() == 0
Records = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def user_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("user")


@pytest.fixture(scope="module")
def records(user_cache: Path) -> Records:
    """What each found out, all in one process: they share the undisturbed run."""
    names = [name for name in NAMES if MAY_MOUNT or name != "disk"]
    words = [*names, "--short", "--seed", "5", "--hours", "0.008"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "fault_test.py"), *words],
        env={**os.environ, "XDG_CACHE_HOME": str(user_cache)},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [record["fault"] for record in found] == names, done.stderr
    return {record["fault"]: record for record in found}


@pytest.mark.parametrize("name", NAMES)
def test_a_run_survives(name: str, records: Records) -> None:
    if name == "disk" and not MAY_MOUNT:
        pytest.skip("mounting a small file system takes root")
    assert records[name]["failures"] == []
    assert records[name]["survived"] == records[name]["tried"] > 0


def test_a_run_without_any_memory_ends_with_4(records: Records) -> None:
    assert records["oom"]["exit_codes"] == [4]


def test_a_short_soak_is_measured(records: Records) -> None:
    assert records["soak"]["samples"] > 10


def test_the_user_s_cache_gets_nothing_but_compiled_steps(
    records: Records, user_cache: Path
) -> None:
    assert records
    assert [path.name for path in user_cache.glob("celltrain/*")] == ["steps"]
