"""What ptxas makes of the fused step's programs, for architectures that need not be there.

    python -m scripts.benchmarks.triton [--architectures 75,80,...] [--widths 16-32-2,...] [--all]

Compiles and launches nothing. A line a program: registers and bytes of stack of a thread, bytes of
shared memory, instructions of a thread for each cell of a sample (of the loop, where the program is
one), as a share of which the memory's time is given for three cards. The last line is JSON.
"""

import argparse
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
os.environ.setdefault("TRITON_CACHE_DIR", str(Path(tempfile.gettempdir()) / "celltrain-triton"))

import torch
import triton
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from cell_train.model.cell_rule import CellRule, RuleSize, RuleWeights
from cell_train.model.kernels import triton_step
from cell_train.model.lattice import wire

ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)
WIDTHS = ((8, 16, 2), (16, 32, 1), (16, 32, 2), (32, 64, 2))  # channels, hidden, kernels
SHARED = {75: 65_536, 80: 166_912, 86: 101_376, 89: 101_376, 90: 232_448, 100: 232_448}
BATCH = 32
CARDS = {  # bytes a second, and instructions of threads a second
    "RTX 4090": (89, 1.01e12, 128 * 128 * 2.52e9),
    "A100": (80, 1.55e12, 108 * 128 * 1.41e9),
    "H200": (90, 4.8e12, 132 * 128 * 1.98e9),
}


class Device:
    """What Triton asks of a driver, for a device that only compiles."""

    architecture = 80
    launcher_cls = staticmethod(lambda *_: lambda *_: None)
    utils: Any

    def __init__(self) -> None:
        self.utils = self

    def get_device_properties(self, _: int) -> dict[str, int]:
        shared = SHARED.get(self.architecture, 101_376)
        return {"max_shared_mem": shared, "multiprocessor_count": 132, "warpSize": 32}

    def load_binary(self, *_: Any) -> tuple[int, ...]:
        return 1, 1, 0, 0, 1024

    def get_current_device(self) -> int:
        return self.architecture

    def get_current_stream(self, _: int) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self.architecture, 32)


def compiled(
    architecture: int, size: RuleSize, half: bool, periodic: bool
) -> Iterator[dict[str, Any]]:
    """The programs of a step and of its backward pass."""
    device = Device()
    device.architecture = architecture
    driver.set_active(device)
    found: list[dict[str, Any]] = []

    def note(src: Any, metadata: Any, metadata_group: Any, **_: Any) -> None:
        cubin = next(path for name, path in metadata_group.items() if name.endswith(".cubin"))
        found.append({"name": src.name, "shared": metadata["shared"], "cubin": cubin} | metadata)

    knobs.compilation.listener = note
    triton_step.tensor_cores = lambda _: architecture >= 80  # type: ignore[assignment]
    here = wire((4, 4, 4), density=0.5, strengths=(0.5, 1.5), seed=0, periodic=periodic)
    rule = RuleWeights(*(w.detach() for w in CellRule(size, torch.Generator()).weights()))
    cells = torch.zeros(4, 4, 4, BATCH, size.channels, dtype=torch.bfloat16 if half else None)
    triton_step.forward(here, rule, cells, torch.zeros(here.cells, BATCH))
    triton_step.backward(here, rule, cells, cells.float())
    triton_step.connection_dot(here, cells.flatten(3).flatten(0, 2), cells.flatten(3).flatten(0, 2))
    rows = triton_step.shape(rule, BATCH).rows
    for one in found:
        mine = {"step_weights": 16}.get(one["name"], rows)
        told = {"program": one["name"], **_resources(one["cubin"]), "shared": one["shared"]}
        threads = 32 * one["num_warps"]
        if one["name"] != "connection_dot":
            told["instructions"] = round(_instructions(one["cubin"]) * threads / mine)
        yield told


def _tool(name: str, *arguments: str) -> str:
    path = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / name
    return subprocess.run([str(path), *arguments], capture_output=True, text=True).stdout


def _resources(cubin: str) -> dict[str, int]:
    match = re.search(r"REG:(\d+) STACK:(\d+)", _tool("cuobjdump", "-res-usage", cubin))
    if match is None:
        raise ValueError(f"cuobjdump says nothing of {cubin}")
    return {"registers": int(match[1]), "stack": int(match[2])}


def _instructions(cubin: str) -> int:
    """Of the longest loop, or of the whole program without one."""
    count, loops, labels = 0, [], {}
    for line in _tool("nvdisasm", "-c", cubin).splitlines():
        if label := re.match(r"\s*(\.L_x_\d+):", line):
            labels[label[1]] = count
        elif instruction := re.match(r"\s+/\*[0-9a-f]{4,}\*/\s+(.*?);", line):
            back = re.search(r"BRA.*?(\.L_x_\d+)", instruction[1])
            count += 1
            if back and back[1] in labels:
                loops.append(count - labels[back[1]])
    return max(loops, default=0) if max(loops, default=0) > count // 4 else count


def shares(size: RuleSize, architecture: int, programs: list[dict[str, Any]]) -> dict[str, float]:
    """The memory's time as a share of that of the instructions, on cards of the architecture."""
    state = 4 * size.channels
    # cells and the next; cells, two gradients and d_seen twice; cells, d_cells twice
    moved = 2 * state + (3 + 2 * size.kernels) * state + 3 * state
    asked = sum(one.get("instructions", 0) for one in programs)
    return {
        name: round(moved / bandwidth / (asked / rate), 2)
        for name, (which, bandwidth, rate) in CARDS.items()
        if which == architecture
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--architectures", default=",".join(map(str, ARCHITECTURES)))
    parser.add_argument("--widths", default="16-32-2")
    parser.add_argument("--all", action="store_true", help="every width, half cells and periodic")
    arguments = parser.parse_args()
    widths = [tuple(map(int, one.split("-"))) for one in arguments.widths.split(",")]
    ways = [(False, False)]
    if arguments.all:
        widths, ways = list(WIDTHS), list(itertools.product((False, True), repeat=2))
    rows = []
    architectures = map(int, arguments.architectures.split(","))
    for architecture, width, (half, periodic) in itertools.product(architectures, widths, ways):
        size = RuleSize(*width)
        where = {"sm": architecture, "width": width, "half": half, "periodic": periodic}
        programs = list(compiled(architecture, size, half, periodic))
        for program in programs:
            rows.append(where | program)
            print(json.dumps(rows[-1]), flush=True)
        print(json.dumps(where | {"bound": shares(size, architecture, programs)}), flush=True)
    print(json.dumps({"programs": rows}))


if __name__ == "__main__":
    main()
