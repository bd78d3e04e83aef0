"""The script for a rented GPU, on a device that is none."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fake_cuda import build

ROOT = Path(__file__).parents[1]


def test_a_dry_run_answers_every_part(tmp_path: Path) -> None:
    if build.compiler() is None:
        pytest.skip("no C++ compiler here, which builds the device")
    out = tmp_path / "gpu.json"
    command = [sys.executable, "scripts/gpu_check.py", "--dry", "--out", str(out)]
    environment = os.environ | build.environment() | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    report = json.loads(out.read_text())
    assert done.returncode == 0, done.stderr + json.dumps(report, indent=1)
    assert json.loads(done.stdout.splitlines()[-1]) == report
    assert set(report["parts"]) == {
        *("environment", "kernels", "times", "large", "waits", "plan", "stages", "kill", "memory")
    }
