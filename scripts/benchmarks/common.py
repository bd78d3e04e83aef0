"""Timing, peak memory, and the stage a bench trains."""

import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from cell_train import cache
from cell_train.model import lattice
from cell_train.model.cell_rule import CellRule, RuleSize
from cell_train.model.kernels import cpp
from cell_train.model.kernels.select import Kernels, choose
from cell_train.model.lattice import Connections, Dimensions
from cell_train.workers.launch import ALLOCATOR, THREADING

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Result:
    name: str
    value: float | None
    target: float | None
    better: str  # higher | lower
    parts: Mapping[str, Any]


def interleaved(
    arms: Mapping[str, Callable[[], object]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median seconds of each arm by the `clock`.

    Every round runs all of them, so that noise hits all alike.
    Each runs once before its time is taken, as in training: threads of the arm before may still
    spin (JAX's slowed the next run by a third), and the caches are its.
    """
    times: dict[str, list[float]] = {name: [] for name in arms}
    for run in arms.values():
        run()  # compiles, allocates
    for _ in range(rounds):
        for name, run in arms.items():
            time.sleep(0.05)
            run()
            began = clock()
            run()
            times[name].append(clock() - began)
    return {name: statistics.median(values) for name, values in times.items()}


def in_subprocess(
    bench: str, arm: str, environment: Mapping[str, str] | None = None, **options: Any
) -> dict[str, Any]:
    """Run one arm of a bench in a process of its own, for its peak memory; its last line."""
    argv = [sys.executable, "-m", f"scripts.benchmarks.{bench}", arm, json.dumps(options)]
    variables = {**os.environ, **ALLOCATOR, **THREADING, **(environment or {})}
    done = subprocess.run(argv, env=variables, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{bench} {arm} {options}: {done.stderr.strip().splitlines()[-1]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def peak_allocated(run: Callable[[], object]) -> int:
    """Most bytes of tensors alive at once during `run`, beyond those alive before: exact, from
    torch's own record of every allocation (resident memory differs by the allocator's mood)."""
    gc.collect()  # what is freed during `run` must not be older than it
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as record:
        run()
    live = peak = 0
    for event in record.profiler.kineto_results.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    return peak


def compiled(size: RuleSize) -> Kernels:
    chosen, _ = choose(size, CPU, cache.library, "compiled")
    return chosen


def library(size: RuleSize) -> cpp.Library:
    return cpp.load(size, cache.library)


def wired(dimensions: Dimensions, density: float) -> Connections:
    return lattice.wire(dimensions, density=density, strengths=(0.75, 1.25), seed=0)


def rule(size: RuleSize) -> CellRule:
    return CellRule(size, torch.Generator().manual_seed(0))


def tell(bench: str, results: list[Result]) -> None:
    """Print the results, a line each, and then the JSON line a bench ends with."""
    for result in results:
        shown = "-" if result.value is None else f"{result.value:.4g}"
        sys.stdout.write(f"{result.name}: {shown} (target {result.target})  {dict(result.parts)}\n")
    sys.stdout.write(report(bench, results) + "\n")


def report(bench: str, results: list[Result]) -> str:
    """The JSON line a bench ends with."""
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    for module in ("jax", "cax"):
        if module in sys.modules:
            versions[module] = version(module)
    machine = {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "date": time.strftime("%Y-%m-%d"),
    }
    record = {
        "bench": bench,
        "results": [asdict(result) for result in results],
        "machine": machine,
        "versions": versions,
    }
    return json.dumps(record)


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()
