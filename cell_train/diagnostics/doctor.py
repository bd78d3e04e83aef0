"""What a run meets on this machine, and what is wrong with it."""

import contextlib
import importlib.metadata
import json
import os
import platform
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from cell_train._version import __version__
from cell_train.diagnostics import places
from cell_train.diagnostics.places import Problem
from cell_train.errors import CelltrainError
from cell_train.hardware import compiler, cores, probe
from cell_train.hardware import memory as system
from cell_train.planning.cost import memory
from cell_train.planning.plan import Plan
from cell_train.planning.request import Request, load, plan_that_fits, resolve_stages
from cell_train.workers import launch

LIMIT = 240.0  # seconds for a worker's answer: it may have to compile
PACKAGES = ("torch", "numpy", "omegaconf", "PyYAML", "rich", "typer", "psutil", "nvidia-ml-py")
VARIABLES = (
    "CELLTRAIN_",
    "CUDA_",
    "OMP_",
    "GOMP_",
    "MALLOC_",
    "PYTORCH_",
    "XDG_CACHE_HOME",
    "TMPDIR",
    "HOME",
)
Facts = dict[str, Any]


def examine(output: Path, limit: float = LIMIT) -> Facts:
    """All facts, and the `problems` that follow from them."""
    plan, refusal = _plan()
    facts: Facts = {
        "schema": 1,
        **environment(),
        "gpus": _gpus(),
        "worker": ask_worker(plan, limit),
        **places.look(output),
        "needs_disk_bytes": sum(stage.disk_bytes for stage in plan.stages) if plan else None,
        "checkpoint_bytes": max(memory.checkpoint_bytes(one.stage) for one in plan.stages)
        if plan
        else None,
        "refusal": refusal,
    }
    return facts | {"problems": [asdict(problem) for problem in problems(facts)]}


def environment() -> Facts:
    """Versions, the machine, and the variables that change how a worker runs: at once."""
    installed = psutil.virtual_memory()
    return {
        "celltrain": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in (*PACKAGES, "pynvml")},
        "cores": os.cpu_count(),
        "cores_allowed": cores.allowed(),
        "load": cores.load(),
        "memory_bytes": installed.total,
        "memory_free_bytes": installed.available,
        "memory_allowed_bytes": system.available_bytes(),
        "variables": {k: v for k, v in os.environ.items() if k.startswith(VARIABLES)},
    }


def problems(facts: Facts) -> Iterator[Problem]:
    """What the facts say is wrong."""
    if facts["refusal"]:
        yield Problem(facts["refusal"], "correct what it names, or unset that variable", True)
    yield from _of_the_worker(facts["worker"], facts["gpus"])
    if facts["packages"]["pynvml"]:
        what = "the deprecated package pynvml is installed; it shadows nvidia-ml-py"
        cure = "pip uninstall pynvml, then pip install --force-reinstall nvidia-ml-py"
        yield Problem(what, cure, False)
    yield from places.problems(facts)
    yield from _of_threads(facts["cores"], facts["variables"])
    yield from _of_load(facts["cores_allowed"], facts["load"])


def _of_the_worker(worker: Facts, gpus: Facts) -> Iterator[Problem]:
    if worker["error"]:
        cure = "reinstall torch; where it did not answer, see that nvidia-smi does"
        yield Problem(f"no worker can start: {worker['error']}", cure, True)
    elif gpus["devices"] and not worker["cuda_build"]:
        what = f"NVML shows {gpus['devices'][0]['name']}, but torch {worker['torch']} is for CPUs"
        cure = "install a torch with CUDA (https://pytorch.org/get-started), or add --device cpu"
        yield Problem(what, cure, True)
    elif gpus["devices"] and not worker["cuda_available"]:
        what = f"torch for CUDA {worker['cuda_build']} cannot use the GPU of driver"
        cure = "update the driver or install a torch for an older CUDA, or add --device cpu"
        yield Problem(f"{what} {gpus['driver']}", cure, True)
    for kernel in worker["kernels"][:1]:  # the others have the same reason
        if kernel["name"].startswith("plain"):
            if gpus["devices"]:
                what = f"the step runs in plain torch, several times slower: {kernel['reason']}"
                yield Problem(what, "reinstall torch with the triton it asks for", False)
                return
            slow = compiler.refused(kernel["reason"])
            yield Problem(slow.what, slow.cure, False)


def _of_threads(cores: int, variables: Facts) -> Iterator[Problem]:
    threads = variables.get("OMP_NUM_THREADS")
    if threads is not None and not (threads.isdecimal() and 0 < int(threads) <= cores):
        what = f"OMP_NUM_THREADS={threads}, on {cores} cores"
        yield Problem(what, "unset it; --threads N says how many a run uses", False)


def _of_load(allowed: float, load: float | None) -> Iterator[Problem]:
    """Threads of a run wait for one another: where cores are taken, fewer are done sooner."""
    fewer = max(1, int(allowed) // 2)
    if load is not None and load >= allowed > fewer:
        what = f"the machine is busy: {load:.1f} threads want its cores, a run may use {allowed:g}"
        yield Problem(what, f"run with --threads {fewer} while it is", False)


def ask_worker(plan: Plan | None, limit: float) -> Facts:
    """What torch finds here, from a process started as a worker is; `error` where none answers."""
    lattices = [stage.stage.lattice for stage in plan.stages] if plan else []
    sizes = {f"{size.channels},{size.hidden},{size.kernels}": None for size in lattices}
    device = plan.stages[0].execution if plan else None
    facts: Facts = {"error": None, "compiler": None, "kernels": []}
    try:
        process = subprocess.Popen(
            [*launch.PYTHON, "-m", "cell_train.training.telemetry.environment", *sizes],
            env=launch.environment(launch.settings(device) if device else {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
    except OSError as error:
        return facts | {"error": str(error)}
    try:
        out, err = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        for started in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                started.kill()  # a compiler
        process.kill()
        process.communicate()
        return facts | {"error": f"it did not answer within {limit:g} s"}
    if process.returncode < 0:
        return facts | {"error": f"it was killed by {signal.Signals(-process.returncode).name}"}
    if process.returncode > 0:
        return facts | {"error": (err.strip().splitlines() or ["it gave no reason"])[-1]}
    return facts | json.loads(out.splitlines()[-1])


def _plan() -> tuple[Plan | None, str | None]:
    """The plan of the built-in stages as `celltrain run` would make it, or why there is none."""
    try:
        loaded = load(Request(), trains=True)
        return plan_that_fits(loaded, resolve_stages(loaded)), None
    except CelltrainError as error:
        return None, str(error)


def _gpus() -> Facts:
    found, reason = probe.gpus(os.environ)
    devices = [{"name": one.name, "uuid": one.uuid, "free_bytes": one.free_bytes} for one in found]
    return {"devices": devices, "driver": probe.driver(), "why_none": None if found else reason}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
