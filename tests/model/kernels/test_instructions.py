"""What the compiled step costs, in instructions: the same on every machine, however busy."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cell_train.model.cell_rule import RuleSize
from cell_train.model.kernels import cpp

ONE_TICK = Path(__file__).with_name("one_tick.cpp")
CELL_TICKS = 4 * 3 * 3 * 8  # cells and samples of one_tick.cpp
COMPILER = shutil.which("g++") or shutil.which("clang++")


@pytest.mark.skipif(not COMPILER, reason="no C++ compiler here")
@pytest.mark.skipif(not shutil.which("valgrind"), reason="no valgrind here")
@pytest.mark.parametrize(
    ("size", "ceiling"), [(RuleSize(16, 32, 1), 4000), (RuleSize(8, 16, 1), 1550)]
)
def test_a_cell_tick_takes_few_instructions_on_a_processor_with_avx2(
    size: RuleSize, ceiling: int, tmp_path: Path
) -> None:
    """Forward and backward. 22,150 while vectors were wider than the registers."""
    program, profile = tmp_path / "one_tick", tmp_path / "profile"
    command = cpp.compilation(str(COMPILER), size, "x86-64-v3")
    command = [word for word in command if word != "-c"]
    source = [f'-DSTEP="{cpp.SOURCE}"', str(ONE_TICK)]
    subprocess.run([*command, *source, "-o", str(program)], check=True)
    counted = ["--toggle-collect=step_forward", "--toggle-collect=step_backward"]
    subprocess.run(
        ["valgrind", "--tool=callgrind", f"--callgrind-out-file={profile}", *counted, str(program)],
        check=True,
        capture_output=True,
    )
    totals = re.search(r"^totals: (\d+)", profile.read_text(), re.MULTILINE)
    assert totals
    per_cell_tick = int(totals[1]) / CELL_TICKS
    assert per_cell_tick > ceiling / 4  # it was the step that was counted
    assert per_cell_tick <= ceiling
