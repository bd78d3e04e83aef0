"""How fast a GPU would be that nobody has measured: its data sheet, and what the step asks of it.

Of the shipped width (16 channels, 32 hidden, 2 kernels, every connection there) a cell takes, for
a tick of a sample, forward and backward, 772 bytes of memory and about 11,800 instructions of a
thread (counted in what ptxas makes for sm_90: `python -m scripts.benchmarks.triton`), where the
time model counts 20,352 operations. A card issues half as many instructions as its data sheet has
operations, a multiplication with an addition being two. SHARE of either is what one may hope for.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cell_train.config.yaml import nodes

CARDS = Path(__file__).with_name("gpus.yaml")
OPERATIONS = 20_352
BYTES = 772
INSTRUCTIONS = 11_800
SHARE = 0.5
OVERHEAD = 0.01  # seconds: some hundred launches a step, at several microseconds each
OLDEST = (7, 5)  # compute capability that PyTorch, Triton and ptxas still know


def rates(name: str, capability: tuple[int, int] | None) -> tuple[dict[str, float], str] | None:
    """(the rates of a card of this name, where they are from); None where nothing is known."""
    sheet, known = _sheet(name, capability)
    if sheet is None:
        return None
    by_memory = sheet["bandwidth"] / BYTES
    by_instructions = sheet["flops"] / 2 / INSTRUCTIONS
    speed = SHARE * OPERATIONS * min(by_memory, by_instructions)
    return {"flops_per_second": speed, "step_overhead_s": OVERHEAD}, known


def _sheet(name: str, capability: tuple[int, int] | None) -> tuple[Mapping[str, float] | None, str]:
    shipped = _cards()
    for card in shipped["cards"]:
        if f" {card['name']}" in f" {name}":
            return card, f"the data sheet of {card['name']}"
    if capability is None:
        return None, ""
    number = ".".join(map(str, capability))
    found = next((row for key, row in shipped["capabilities"].items() if str(key) == number), None)
    return found, f"data sheets of compute capability {number}"


@functools.cache
def _cards() -> dict[str, Any]:
    return dict(nodes.load(CARDS))
