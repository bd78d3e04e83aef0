"""Which implementation of the step runs here, and why."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cell_train.model import native, plain
from cell_train.model.cell_rule import RuleSize, RuleWeights
from cell_train.model.lattice import Connections


@dataclass(frozen=True)
class Kernels:
    """The three operations everything else is built from."""

    name: str
    forward: Callable[[Connections, RuleWeights, Tensor, Tensor], Tensor]
    backward: Callable[[Connections, RuleWeights, Tensor, Tensor], tuple[Tensor, RuleWeights]]
    connection_dot: Callable[[Connections, Tensor, Tensor], Tensor]


PLAIN = Kernels("plain torch", plain.forward, plain.backward, plain.connection_dot)


def autocast(device: torch.device, precision: torch.dtype) -> Kernels:
    """The plain step with its matrix products in half precision."""

    def forward(
        connections: Connections, rule: RuleWeights, cells: Tensor, activity: Tensor
    ) -> Tensor:
        with torch.autocast(device.type, precision):
            return plain.forward(connections, rule, cells, activity)

    def backward(
        connections: Connections, rule: RuleWeights, cells: Tensor, d_next: Tensor
    ) -> tuple[Tensor, RuleWeights]:
        with torch.autocast(device.type, precision):
            return plain.backward(connections, rule, cells, d_next)

    name = f"plain torch, {str(precision).removeprefix('torch.')} products"
    return Kernels(name, forward, backward, plain.connection_dot)


def choose(
    size: RuleSize,
    device: torch.device,
    cache: Path,
    wanted: str = "auto",
    precision: torch.dtype = torch.float32,
) -> tuple[Kernels, str]:
    """The fastest kernels that work here and the reason for them.

    `wanted` is auto, compiled or plain; `compiled` raises native.Unavailable where it cannot be.
    Below float32 a GPU multiplies in `precision`; on a CPU only the stored cells are smaller.
    """
    if device.type != "cpu":
        chosen = PLAIN if precision == torch.float32 else autocast(device, precision)
        return chosen, f"the compiled step is for the CPU, not {device.type}"
    if wanted == "plain":
        return PLAIN, "asked for"
    try:
        library = native.load(size, cache)
    except native.Unavailable as error:
        if wanted == "compiled":
            raise
        return PLAIN, str(error)
    compiled = Kernels("compiled C++", library.forward, library.backward, library.connection_dot)
    return compiled, "a C++ compiler is here" if wanted == "auto" else "asked for"
