"""The step for each instruction set that this processor runs, against GEMM and peers held to it.

Each set has a process of its own, in which CXX, torch's libraries and XLA are told to use no more.
"""

import importlib.util
import json
import os
import sys
import time

import torch

from cell_train.model.cell_rule import RuleSize
from cell_train.model.kernels import cpp
from scripts.benchmarks.common import Result, in_subprocess, interleaved
from scripts.benchmarks.step import Ours, bound_seconds

# By -march: torch's word for what it must not exceed, MKL's, oneDNN's and XLA's.
SETS = {
    "x86-64-v2": ("default", "SSE4_2", "SSE41", "SSE4_2"),
    "x86-64-v3": ("avx2", "AVX2", "AVX2", "AVX2"),
    "x86-64-v4": ("avx512", "AVX512", "AVX512_CORE", "AVX512"),
}
RUNS = {"DEFAULT": 1, "AVX2": 2, "AVX512": 3}  # how many of them, by what torch finds
VARIABLES = ("ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA", "XLA_FLAGS")
# The step of `roofline`, and that of stage 5 on a machine without a GPU.
CASES = {
    "roofline": (RuleSize(16, 32, 1), (16, 16, 16), 8),
    "roofline_cpu_profile": (RuleSize(8, 16, 1), (10, 10, 7), 32),
}
TARGETS = {  # x86-64-v2 has none
    "x86-64-v3": {"roofline": 0.5, "roofline_cpu_profile": 0.5, "vs_jax": 8, "vs_cax": 30},
    "x86-64-v4": {"roofline": 0.65, "roofline_cpu_profile": 0.5, "vs_jax": 12, "vs_cax": 45},
}


def isa(rounds: int) -> list[Result]:
    """Bound over ours of one thread, by CPU time; peers over ours of all threads, by the clock."""
    results = []
    for march in list(SETS)[: RUNS.get(torch.backends.cpu.get_cpu_capability(), 0)]:
        words = (*SETS[march][:3], f"--xla_cpu_max_isa={SETS[march][3]}")
        limits = dict(zip(VARIABLES, words, strict=True))
        compiler = f"{cpp.compiler()} -march={march}"
        found = in_subprocess(
            "isa", march, environment=limits | {"CXX": compiler}, rounds=rounds,
            threads=torch.get_num_threads(),
        )  # fmt: skip
        targets = TARGETS.get(march, {})
        for name, (value, parts) in found.items():
            one = Result(f"{name} {march}", value, targets.get(name), "higher", parts)
            results.append(one)
            print(f"{one.name}: {value:.3g}  {parts}", file=sys.stderr, flush=True)
    return results


def arm(rounds: int, threads: int) -> dict[str, tuple[float, dict[str, object]]]:
    """What this process measures, by name."""
    found = {}
    for name, (size, dimensions, batch) in CASES.items():
        ours = Ours(size, 1.0, dimensions, batch)
        torch.set_num_threads(threads)
        wall = interleaved({"ours": ours.run}, rounds)["ours"]
        torch.set_num_threads(1)
        a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
        arms = {"ours": ours.run, "gemm": lambda a=a, b=b: torch.mm(a, b)}
        seconds = interleaved(arms, rounds, time.process_time)
        bound = bound_seconds(ours, 2 * 1024**3 / seconds["gemm"])
        parts: dict[str, object] = {
            "gemm_gflops": round(2 * 1.024**3 / seconds["gemm"], 1),
            "cpu_milliseconds": round(1e3 * seconds["ours"], 2),
            f"wall_milliseconds_{threads}_threads": round(1e3 * wall, 2),
            "bound_milliseconds": round(1e3 * bound, 2),
        }
        found[name] = (bound / seconds["ours"], parts)
    torch.set_num_threads(threads)
    if importlib.util.find_spec("jax") and importlib.util.find_spec("cax"):
        from scripts.benchmarks.step import peers

        for one in peers(RuleSize(16, 32, 1), 1.0, rounds):
            found[one.name] = (one.value or 0.0, dict(one.parts))
    return found


if __name__ == "__main__":
    options = json.loads(sys.argv[2])
    sys.stdout.write(json.dumps(arm(**options)) + os.linesep)
