"""What the compiled step costs, in instructions: the same on every machine, however busy."""

import platform
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


def innermost_loops(assembly: str) -> list[list[str]]:
    """The instructions between a label and a jump back to it, with no such loop inside."""
    lines = assembly.splitlines()
    labels, loops = {}, []
    for index, line in enumerate(lines):
        if label := re.match(r"(\.L\w+):", line):
            labels[label[1]] = index
        jump = re.match(r"\tj\w+\s+(\.L\w+)$", line)
        if jump and jump[1] in labels:
            loops.append((labels[jump[1]], index))
    inner = [
        (first, last)
        for first, last in loops
        if not any(first <= a and b <= last and (a, b) != (first, last) for a, b in loops)
    ]
    instruction = re.compile(r"\t[a-z]")
    return [[line for line in lines[a : b + 1] if instruction.match(line)] for a, b in inner]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="for x86-64 alone")
@pytest.mark.skipif(not shutil.which("g++"), reason="no g++ here")
@pytest.mark.parametrize(("processor", "most"), [("v2", 5.5), ("v3", 4.0), ("v4", 3.0)])
def test_the_step_s_loops_compute_and_keep_their_sums_in_registers(
    processor: str, most: float, tmp_path: Path
) -> None:
    """Vectors wider than registers went through memory: with AVX2 they had 10 instructions a
    multiplication, and stored 146 vectors to the stack. Read, not run: any x86-64 machine can."""
    assembly = tmp_path / "step.s"
    command = cpp.compilation("g++", RuleSize(16, 32, 1), f"x86-64-{processor}")
    command = ["-S" if word == "-c" else word for word in command]
    subprocess.run([*command, str(cpp.SOURCE), "-o", str(assembly)], check=True)
    multiplies = re.compile(r"\tv?(fn?m(add|sub)\d*ps|mulps)\b")
    spills = re.compile(r"\tv?mov[au]ps\t%[xyz]mm\d+, -?\d*\(%r[sb]p")
    products = [
        loop
        for loop in innermost_loops(assembly.read_text())
        if len(list(filter(multiplies.match, loop))) >= 4
    ]
    assert len(products) >= 8  # of the rule forward and backward, and of the gathers
    computing = sum(bool(multiplies.match(line)) for loop in products for line in loop)
    spilled = sum(bool(spills.match(line)) for loop in products for line in loop)
    assert spilled <= computing / 10  # none with gcc 12, up to 25 of 324 with gcc 11
    assert sum(map(len, products)) / computing <= most
