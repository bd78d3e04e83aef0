"""The largest lattice that trains within 8 GiB on a CPU: two real optimizer steps, one sample."""

import json
import math
import resource
import sys
import time
from dataclasses import replace
from typing import Any

import torch

from scripts.benchmarks.common import Result, in_subprocess
from scripts.benchmarks.training import trainer

LIMIT = 8 << 30
DIMENSIONS = (128, 128, 96)


def arm(_: str, options: dict[str, Any]) -> dict[str, Any]:
    """Two steps with the states of every tenth tick stored; the whole process's peak."""
    x, y, z = options["dimensions"]
    words = (f"lattice.dimensions=[{x},{y},{z}]", "batch_size=1")
    one = trainer(*words, execution=lambda plan: replace(plan, segment=10))
    began = time.perf_counter()
    before = one.state.model.network.rule.kernel.detach().clone()
    for sample in range(2):
        one.step([sample])
    moved = float((one.state.model.network.rule.kernel - before).abs().max())
    return {
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "seconds_a_step": (time.perf_counter() - began) / 2,
        "ticks": one.state.model.network.ticks,
        "loss": one.state.totals.loss,
        "largest_change_of_the_rule": moved,
    }


def largest(rounds: int) -> list[Result]:
    del rounds  # one run says it
    found = in_subprocess("largest", "train", dimensions=DIMENSIONS)
    trained = found["peak"] <= LIMIT and found["largest_change_of_the_rule"] > 0
    cells = math.prod(DIMENSIONS) if trained else None
    parts = {**found, "peak_gib": round(found["peak"] / (1 << 30), 2), "dimensions": DIMENSIONS}
    return [Result("largest_lattice_cells", cells, math.prod(DIMENSIONS), "higher", parts)]


if __name__ == "__main__":
    torch.set_num_threads(2)
    sys.stdout.write(json.dumps(arm(sys.argv[1], json.loads(sys.argv[2]))) + "\n")
