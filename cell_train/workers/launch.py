"""Starting a worker: its command, its environment and its three pipes."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cell_train import cache
from cell_train.config.schema import Execution
from cell_train.hardware.cores import under_quota

Command = Callable[[Path, int], list[str]]
"""(resolved.yaml, number of the descriptor for events) -> argv."""

# Fresh large activations cost a page fault each time glibc hands their pages back to the system:
# keep them. Both thresholds must be set before Python starts.
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
    "MALLOC_TOP_PAD_": str(64 << 20),
}

# Threads that wait at a barrier look so many times, some 15 to 60 microseconds by the processor,
# then sleep. OpenMP's default, some milliseconds, costs a time slice a barrier where other
# processes want the cores; sleeping at once costs what the second core brings.
THREADING = {"GOMP_SPINCOUNT": "1000"}


# On a GPU: segments that grow instead of new ones that leave gaps, and room that cuBLAS is given
# once, without which it may add up in another order from call to call.
GPU = {
    "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}


@dataclass(frozen=True)
class Worker:
    """A running worker. While `lifeline` (its stdin) is open, the worker knows its parent lives."""

    process: subprocess.Popen[bytes]
    events: int  # descriptor to read events from


PYTHON = (sys.executable, "-P")
"""How every process of ours is started: `-P` keeps the folder one is in off the path of imports,
where a `random.py` of anybody's would be run."""


def command(resolved: Path, events_fd: int) -> list[str]:
    """The argv of the worker that trains a stage."""
    worker = "cell_train.training.worker"
    return [*PYTHON, "-m", worker, str(resolved), "--events-fd", str(events_fd)]


def environment(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a process of ours: `variables` beside what there is.

    An empty entry of PYTHONPATH (`:/my/code`) means the folder one is in, as few know: it goes.
    Where that folder holds this very package, as a checkout does, it is named.
    """
    said = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    home = Path(__file__).parents[2]
    paths = [path for path in said if path]
    if home == Path.cwd() and str(home) not in paths:
        paths.append(str(home))
    found = {**os.environ, **(variables or {})}
    found.pop("PYTHONPATH", None)
    return found | ({"PYTHONPATH": os.pathsep.join(paths)} if paths else {})


def settings(execution: Execution) -> dict[str, str]:
    """The environment variables a worker gets beside its parent's."""
    kind, _, name = execution.device.partition(":")
    variables = {**ALLOCATOR, **THREADING, "PYTHONUNBUFFERED": "1"}
    if kind == "cpu":
        variables["CUDA_VISIBLE_DEVICES"] = ""
    else:
        variables |= GPU
        with contextlib.suppress(OSError):  # else where Triton likes, in the home
            variables["TRITON_CACHE_DIR"] = str(cache.room("triton", make=True))
        if name:
            variables["CUDA_VISIBLE_DEVICES"] = name
    threads = execution.threads or (None if "OMP_NUM_THREADS" in os.environ else under_quota())
    if threads:
        variables["OMP_NUM_THREADS"] = str(threads)
    return variables


def start(argv: Command, resolved: Path, log: Path, variables: Mapping[str, str]) -> Worker:
    """Start a worker in a session of its own, so that Ctrl-C reaches it through its parent alone.

    Its output is appended to `log`. Its stdin is a pipe nobody writes to: when the parent dies,
    however it dies, the pipe closes and the worker sees the end.
    """
    readable, writable = os.pipe()
    try:
        with log.open("ab") as output:
            process = subprocess.Popen(
                argv(resolved, writable),
                env=environment({**variables, **_temporary(resolved.parent)}),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(writable,),
                start_new_session=True,
            )
    except OSError:
        os.close(readable)
        raise
    finally:
        os.close(writable)
    return Worker(process, readable)


def _temporary(own: Path) -> dict[str, str]:
    """A temporary folder where the system has none that can be written: libraries ask for one."""
    try:
        tempfile.gettempdir()
    except OSError:
        return {"TMPDIR": str(own)}
    return {}
