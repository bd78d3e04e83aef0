"""What ptxas makes of the fused step, without a GPU: nothing spills, and it fits."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton is not installed here", exc_type=ImportError)
ROOT = Path(__file__).parents[3]
PROGRAMS = {"step_forward", "step_backward", "step_weights", "step_collect", "connection_dot"}


@pytest.mark.parametrize("architecture", [80, 90])
def test_the_shipped_width_stays_in_registers(architecture: int) -> None:
    """All architectures and widths: python -m scripts.benchmarks.triton --all."""
    command = [sys.executable, "-m", "scripts.benchmarks.triton", f"--architectures={architecture}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if "ptxas" in done.stderr and "not found" in done.stderr:
        pytest.skip("ptxas is not installed here")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])["programs"]
    assert {one["program"] for one in found} == PROGRAMS
    for one in found:
        assert one["stack"] < 200, one
        assert one["shared"] <= 48 << 10, one  # what every architecture has
