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


def choose(
    size: RuleSize, device: torch.device, cache: Path, wanted: str = "auto"
) -> tuple[Kernels, str]:
    """The fastest kernels that work here and the reason for them.

    `wanted` is auto, compiled or plain; `compiled` raises native.Unavailable where it cannot be.
    """
    if wanted == "plain":
        return PLAIN, "asked for"
    if device.type != "cpu":
        return PLAIN, f"the compiled step is for the CPU, not {device.type}"
    try:
        library = native.load(size, cache)
    except native.Unavailable as error:
        if wanted == "compiled":
            raise
        return PLAIN, str(error)
    compiled = Kernels("compiled C++", library.forward, library.backward, library.connection_dot)
    return compiled, "a C++ compiler is here" if wanted == "auto" else "asked for"
