"""Peak memory of a presentation forward and backward, each arm in a process of its own."""

import json
import sys
from typing import Any

import torch

from cell_train.model.cell_rule import RuleSize
from cell_train.model.kernels import reference
from cell_train.model.kernels.aggregate import aggregate
from cell_train.model.rollout import Presentation, present
from cell_train.tasks.faces import Faces
from scripts.benchmarks.common import (
    Result,
    compiled,
    in_subprocess,
    library,
    peak_allocated,
    rule,
    wired,
)

SHAPE = {"dimensions": [32, 32, 24], "batch": 4, "channels": 16, "hidden": 64, "ticks": 32}
TARGET = {"dimensions": [48, 48, 36], "batch": 4, "channels": 16, "hidden": 64, "ticks": 40}
GIB = 1 << 30


def arm(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """One measurement: peak bytes, seconds, and the gradients' digest."""
    import time

    size = RuleSize(options["channels"], options["hidden"], 1)
    dimensions, ticks, batch = tuple(options["dimensions"]), options["ticks"], options["batch"]
    connections, shared = wired(dimensions, options.get("density", 1.0)), rule(size)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(*dimensions[:2], batch, size.channels, generator=generator).requires_grad_()
    fast = library(size)

    def naive() -> torch.Tensor:
        """Autograd through every tick, all intermediates kept; only the gather is ours."""
        cells = torch.zeros(*dimensions, batch, size.channels)
        for _ in range(ticks):
            written = Faces.write(cells, x)
            sums = aggregate(
                connections, shared.kernel, written, fast.gather, fast.gather_back
            ).unbind(3)
            cells, _ = reference.rest_of_step(shared.weights(), written, sums)
        return cells

    def ours() -> torch.Tensor:
        storage = getattr(torch, options.get("storage", "float32"))
        how = Presentation(
            connections, compiled(size), Faces.write, ticks, options.get("segment", 1), storage
        )
        return present(how, x, shared.weights(), batch)[0]

    forward = naive if name == "naive" else ours
    fast.gather(connections, shared.kernel.detach(), torch.zeros(*dimensions, 1, size.channels))

    def run() -> None:
        forward().square().sum().backward()

    began = time.perf_counter()
    run()
    seconds = time.perf_counter() - began
    for leaf in (x, *shared.parameters()):
        leaf.grad = None
    peak = peak_allocated(run)
    gradients = [x.grad, *(p.grad for p in shared.parameters())]
    return {
        "peak": peak,
        "seconds": seconds,
        "gradients": [float(g.double().norm()) for g in gradients if g is not None],
    }


def memory(rounds: int) -> list[Result]:
    rounds = min(rounds, 3)
    arms = {
        "naive": ("naive", {}),
        "every tick": ("ours", {}),
        "segments of 6": ("ours", {"segment": 6}),
        "bf16": ("ours", {"storage": "bfloat16"}),
        "density 0.3": ("ours", {"density": 0.3}),
        "all together": ("ours", {"segment": 6, "storage": "bfloat16", "density": 0.3}),
    }
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in arms}
    for _ in range(rounds):
        for label, (name, options) in arms.items():
            found[label].append(in_subprocess("memory", name, **(SHAPE | options)))
    peaks = {label: min(one["peak"] for one in runs) for label, runs in found.items()}
    seconds = {
        label: sorted(one["seconds"] for one in runs)[rounds // 2] for label, runs in found.items()
    }
    naive, ours = found["naive"][0]["gradients"], found["every tick"][0]["gradients"]
    difference = max(abs(a - b) / abs(a) for a, b in zip(naive, ours, strict=True))
    equal = ours == found["segments of 6"][0]["gradients"]
    parts = {
        **SHAPE,
        "peak_mib": {label: round(peak / (1 << 20)) for label, peak in peaks.items()},
        "seconds": {label: round(value, 2) for label, value in seconds.items()},
        "reduction": {label: round(1 - peak / peaks["naive"], 3) for label, peak in peaks.items()},
        "gradient_norms_differ_from_naive_by": difference,
        "segments_bit_equal": equal,
    }
    target = {
        storage: in_subprocess("memory", "ours", **TARGET, segment=6, storage=storage)
        for storage in ("float32", "bfloat16")
    }
    return [
        Result("memory_reduction", peaks["naive"] / peaks["segments of 6"], 10, "higher", parts),
        Result(
            "recompute_tax",
            seconds["segments of 6"] / seconds["every tick"] - 1,
            0.25,
            "lower",
            {"against": "storing every tick, which recomputes a tick's interior", **parts},
        ),
        Result("target_lattice_gib_fp32", target["float32"]["peak"] / GIB, 1.5, "lower", TARGET),
        Result("target_lattice_gib_bf16", target["bfloat16"]["peak"] / GIB, 0.8, "lower", TARGET),
    ]


if __name__ == "__main__":
    torch.set_num_threads(2)
    sys.stdout.write(json.dumps(arm(sys.argv[1], json.loads(sys.argv[2]))) + "\n")
