"""The compiled CPU path: step.cpp, built once per rule width and kept in the user's cache.

No torch extension machinery: a shared library with a C interface, loaded with ctypes, compiles in
seconds and needs only a C++ compiler, none of torch's headers. Its threads are torch's own.
"""

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from cell_train.model.cell_rule import EPSILON, RuleSize, RuleWeights
from cell_train.model.lattice import Connections

SOURCE = Path(__file__).with_name("step.cpp")
# Fast maths lets sums be reordered into vectors; the order is fixed by the code and the processor
# it is compiled for, so results repeat bit for bit.
COMPILE = ("-std=c++20", "-O3", "-ffast-math", "-fPIC", "-c")
COMPILER_TIMEOUT = 180  # seconds
PROCESSOR = (  # lines of /proc/cpuinfo that say what a processor can do, on each architecture
    *("vendor_id", "cpu family", "model", "model name", "stepping", "flags"),  # x86
    *("Features", "CPU implementer", "CPU architecture", "CPU variant", "CPU part"),  # Arm
    *("cpu", "machine", "isa", "uarch", "features"),  # Power, RISC-V, S/390
)
OPERATIONS = (
    *("step_forward", "step_backward", "gather_forward", "gather_backward"),
    "connection_dot",
)


Keep = Callable[
    [str, Callable[[Path], None], Callable[[Path], ctypes.CDLL]], tuple[ctypes.CDLL, str]
]
"""(name, builds the library at a path, loads it) -> (the library, why it could not be kept)."""


class Unavailable(Exception):
    """No compiled path here; the message is the reason, for the log."""


class _Lattice(ctypes.Structure):
    _fields_ = (
        ("x", ctypes.c_int64),
        ("y", ctypes.c_int64),
        ("z", ctypes.c_int64),
        ("periodic", ctypes.c_int),
        ("mask", ctypes.c_void_p),
        ("start", ctypes.c_void_p),
        ("strength", ctypes.c_void_p),
    )


class _Rule(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in RuleWeights._fields),
        ("epsilon", ctypes.c_float),
    )


@dataclass(frozen=True)
class Library:
    """A loaded build of step.cpp for one rule width; the methods mirror those of `plain`."""

    handle: ctypes.CDLL
    remark: str = ""  # why it could not be kept

    def forward(
        self, connections: Connections, rule: RuleWeights, cells: Tensor, activity: Tensor
    ) -> Tensor:
        """One tick; `activity` [N, B] is filled in place and may be a slice of a larger record."""
        following = torch.empty_like(cells)
        with _Arguments(connections, rule) as (lattice, weights):
            self.handle.step_forward(
                lattice,
                weights,
                ctypes.c_int64(cells.shape[3]),
                _data(cells),
                _data(following),
                ctypes.c_void_p(activity.data_ptr()),
                ctypes.c_int64(activity.stride(0)),
            )
        return following

    def backward(
        self, connections: Connections, rule: RuleWeights, cells: Tensor, d_next: Tensor
    ) -> tuple[Tensor, RuleWeights]:
        """Gradients of one tick; the forward is recomputed cell by cell, nothing was stored."""
        d_cells = torch.empty_like(cells)
        d_perceived = cells.new_empty(rule.kernel.shape[0] * cells.numel())
        total = cells.new_zeros(self.handle.gradients_size())
        with _Arguments(connections, rule) as (lattice, weights):
            self.handle.step_backward(
                lattice,
                weights,
                ctypes.c_int64(cells.shape[3]),
                _data(cells),
                _data(d_next.contiguous()),
                _data(d_cells),
                _data(d_perceived),
                _data(total),
            )
        parts = total.split([w.numel() for w in (*rule[1:], rule.kernel)])
        shaped = [p.view(w.shape) for p, w in zip(parts, (*rule[1:], rule.kernel), strict=True)]
        return d_cells, RuleWeights(shaped[-1], *shaped[:-1])

    def gather(self, connections: Connections, kernel: Tensor, cells: Tensor) -> Tensor:
        """The aggregation alone: [X, Y, Z, K, B, C], see aggregate.py."""
        sums = cells.new_empty(*cells.shape[:3], len(kernel), *cells.shape[3:])
        with _Arguments(connections, _kernel_only(kernel)) as (lattice, weights):
            self.handle.gather_forward(
                lattice, weights, _row(cells), _data(cells.contiguous()), _data(sums)
            )
        return sums

    def gather_back(
        self, connections: Connections, kernel: Tensor, cells: Tensor, d_sums: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Gradients of cells and kernel from that of the sums."""
        d_cells, d_kernel = torch.zeros_like(cells), torch.zeros_like(kernel)
        with _Arguments(connections, _kernel_only(kernel)) as (lattice, weights):
            self.handle.gather_backward(
                lattice,
                weights,
                _row(cells),
                _data(cells.contiguous()),
                _data(d_sums.contiguous()),
                _data(d_cells),
                _data(d_kernel),
            )
        return d_cells, d_kernel

    def connection_dot(self, connections: Connections, a: Tensor, b: Tensor) -> Tensor:
        """[E]: for each connection the inner product of `a` [N, L] at its cell, `b` at its source.

        Sums are float32.
        """
        product = torch.empty_like(connections.strength)
        a, b = a.float().contiguous(), b.float().contiguous()
        with _Arguments(connections) as (lattice, _):
            self.handle.connection_dot(
                lattice, ctypes.c_int64(a.shape[1]), _data(a), _data(b), _data(product)
            )
        return product


class _Arguments:
    """The two structs for a call; holds the tensors they point to for as long as it runs."""

    def __init__(self, connections: Connections, rule: RuleWeights | None = None) -> None:
        tensors = (connections.mask, connections.start, connections.strength)
        self.lattice = _Lattice(
            *connections.dimensions, int(connections.periodic), *map(_data, tensors)
        )
        self.held: Sequence[Tensor] = ()
        self.rule = None
        if rule is not None:
            self.held = [w.detach().contiguous() for w in rule]
            self.rule = _Rule(*map(_data, self.held), EPSILON)

    def __enter__(self) -> tuple[object, object]:
        return ctypes.byref(self.lattice), None if self.rule is None else ctypes.byref(self.rule)

    def __exit__(self, *_: object) -> None:
        self.held = ()


def _data(tensor: Tensor) -> ctypes.c_void_p:
    assert tensor.is_contiguous()
    return ctypes.c_void_p(tensor.data_ptr())


def _row(cells: Tensor) -> ctypes.c_int64:
    return ctypes.c_int64(cells.shape[3] * cells.shape[4])


def _kernel_only(kernel: Tensor) -> RuleWeights:
    """A rule of which the aggregation reads the kernel alone."""
    return RuleWeights(kernel, *(kernel.new_empty(1, 1) for _ in range(4)))


def compiler() -> str | None:
    """The C++ compiler that builds the step; CXX may carry options, as in `g++ -march=haswell`."""
    return os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")


def load(size: RuleSize, keep: Keep, march: str = "native") -> Library:
    """The compiled step for rules of this size, which `keep` has from before or builds.

    `march` is the processor it is compiled for, in the compiler's words, where CXX names none.
    Raises Unavailable with the reason where no compiler is found, the build fails or the
    library cannot be loaded.
    """
    found = compiler()
    if platform.system() != "Linux":
        raise Unavailable(f"the compiled step is built on Linux only, not {platform.system()}")
    if not found:
        raise Unavailable("no C++ compiler found (g++ or clang++)")
    command = compilation(found, size, march)
    key = hashlib.sha256(
        repr((SOURCE.read_bytes(), command, torch.__version__, _cpu())).encode()
    ).hexdigest()[:16]
    build = partial(_build, found, command)
    try:
        handle, remark = keep(f"step-{key}.so", build, lambda path: ctypes.CDLL(str(path)))
    except OSError as error:
        said = error.strerror or error
        raise Unavailable(f"{found} did not give a loadable library: {said}") from error
    handle.gradients_size.restype = ctypes.c_int64
    for name in OPERATIONS:
        getattr(handle, name).restype = None
    return Library(handle, remark)


def compilation(found: str, size: RuleSize, march: str = "native") -> list[str]:
    """The command that compiles the step but for its input and output."""
    words = shlex.split(found)
    if not any(word.startswith("-march=") for word in words):
        words.append(f"-march={march}")
    widths = {"CHANNELS": size.channels, "HIDDEN": size.hidden, "KERNELS": size.kernels}
    return [*words, *COMPILE, *(f"-D{name}={value}" for name, value in widths.items())]


def _build(found: str, command: list[str], target: Path) -> None:
    """Build the library at `target`, in whose folder everything on the way lies too.

    Raises Unavailable with the compiler's words.
    """
    environment = {**os.environ, "TMPDIR": str(target.parent)}
    run = partial(
        subprocess.run, check=True, capture_output=True, timeout=COMPILER_TIMEOUT, env=environment
    )
    folder = Path(torch.__file__).parent
    # Torch brings its own OpenMP runtime; a second one in the process would fight it for cores.
    runtimes = [*folder.glob("lib/libgomp*.so*"), *folder.parent.glob("torch.libs/libgomp*.so*")]
    # Where it lies elsewhere, what torch itself was linked with leads to it.
    of_torch = (f"-L{folder / 'lib'}", "-Wl,--no-as-needed", "-ltorch_cpu")
    libraries = (*of_torch, *map(str, runtimes[:1]))
    built = target.with_suffix(".o")
    try:
        run([*command, str(SOURCE), "-o", str(built)])
        # Apart, without -ffast-math: gcc would link code that switches denormals off process-wide.
        run([*shlex.split(found), "-shared", str(built), *libraries, "-o", str(target)])
    except subprocess.CalledProcessError as error:
        said = (error.stderr or b"").decode(errors="replace").strip()[-400:]
        raise Unavailable(f"{found} did not build the step: {said}") from error
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable(f"{found} did not build the step: {error}") from error


def _cpu() -> str:
    """What -march=native depends on: a cache shared between machines must not mix them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    said = {line for line in lines if line.partition(":")[0].strip() in PROCESSOR}
    if not said:  # the same machine only
        said = {platform.node(), platform.processor()}
    return "\n".join((platform.machine(), *sorted(said)))
