"""Whether the lattice's step can be compiled for the CPU, as far as is seen without trying it.

The worker, which has torch, builds it (model/kernels/cpp.py); the plan counts with what is found
here. Where nothing is compiled the step runs in plain torch.
"""

import functools
import os
import platform
import shlex
import shutil
from dataclasses import dataclass

# A presentation forward and backward, 6×6×6 to 16×16×16, CPU time of one thread: bench.py plain
SLOWER = "12 to 20 times slower"


@dataclass(frozen=True)
class SlowPath:
    """Why the step is not compiled, and what to do about it."""

    reason: str
    cure: str

    @property
    def what(self) -> str:
        return f"the step runs in plain torch, {SLOWER}: {self.reason}"

    def __str__(self) -> str:
        return f"{self.what}; {self.cure}"


def slow_path() -> SlowPath | None:
    """What keeps the step from being compiled; None where nothing is seen."""
    return _slow_path(os.environ.get("CXX"), os.environ.get("PATH"), platform.system())


def refused(reason: str) -> SlowPath:
    """The slow path that a worker took for a reason of its own."""
    cure = "see that the compiler works, or set CXX to another"
    return slow_path() or SlowPath(reason, cure)


@functools.cache  # a plan asks for every size of batch and segment
def _slow_path(cxx: str | None, path: str | None, system: str) -> SlowPath | None:
    if system != "Linux":
        return SlowPath(f"it is compiled on Linux only, not {system}", "use a Linux machine")
    install = "install one (Debian, Ubuntu: apt-get install g++), or set CXX to one"
    words = shlex.split(cxx) if cxx else []
    if words and not shutil.which(words[0], path=path):
        return SlowPath(f"CXX={cxx} is no program", "set it to a C++ compiler, or unset it")
    if not words and not any(shutil.which(name, path=path) for name in ("g++", "clang++")):
        return SlowPath("no C++ compiler is found (g++ or clang++)", install)
    return None
