"""Which implementation of the step runs here, and why."""

import operator
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from cell_train import limits
from cell_train.model.cell_rule import CellRule, RuleSize, RuleWeights
from cell_train.model.kernels import cpp, reference
from cell_train.model.lattice import Connections, wire


@dataclass(frozen=True)
class Kernels:
    """The three operations everything else is built from."""

    name: str
    forward: Callable[[Connections, RuleWeights, Tensor, Tensor], Tensor]
    backward: Callable[[Connections, RuleWeights, Tensor, Tensor], tuple[Tensor, RuleWeights]]
    connection_dot: Callable[[Connections, Tensor, Tensor], Tensor]
    half: bool = False  # takes cells in half precision, and rounds those that follow alike


PLAIN = Kernels("plain torch", reference.forward, reference.backward, reference.connection_dot)


def autocast(device: torch.device, precision: torch.dtype) -> Kernels:
    """The plain step with its matrix products in half precision."""

    def forward(
        connections: Connections, rule: RuleWeights, cells: Tensor, activity: Tensor
    ) -> Tensor:
        with torch.autocast(device.type, precision):
            return reference.forward(connections, rule, cells, activity)

    def backward(
        connections: Connections, rule: RuleWeights, cells: Tensor, d_next: Tensor
    ) -> tuple[Tensor, RuleWeights]:
        with torch.autocast(device.type, precision):
            return reference.backward(connections, rule, cells, d_next)

    name = f"plain torch, {str(precision).removeprefix('torch.')} products"
    return Kernels(name, forward, backward, reference.connection_dot)


def choose(
    size: RuleSize,
    device: torch.device,
    keep: cpp.Keep,
    wanted: str = "auto",
    precision: torch.dtype = torch.float32,
) -> tuple[Kernels, str]:
    """The fastest kernels that work here and the reason for them.

    `wanted` is auto, compiled or plain; `compiled` raises cpp.Unavailable where it cannot be.
    Below float32 the plain path on a GPU multiplies in `precision`; elsewhere only the stored
    cells are smaller.
    """
    half = device.type != "cpu" and precision != torch.float32
    definition = autocast(device, precision) if half else PLAIN
    if wanted == "plain":
        return definition, "asked for"
    try:
        if device.type == "cuda":
            widths = size.channels, size.hidden, size.kernels
            if any(map(operator.gt, widths, limits.FUSED_WIDTHS)):
                most = "{} channels, {} hidden and {} kernels".format(*limits.FUSED_WIDTHS)
                raise cpp.Unavailable(f"the fused step is for rules of at most {most}")
            compiled = fused(size, device)
            reason = "agrees with the definition on this GPU" if wanted == "auto" else "asked for"
            return compiled, reason + ("; float32 arithmetic on cells in half" if half else "")
        if device.type != "cpu":
            raise cpp.Unavailable(f"the compiled step is for CPU and CUDA, not {device.type}")
        library = cpp.load(size, keep)
    except cpp.Unavailable as error:
        if wanted == "compiled":
            raise
        return definition, str(error)
    compiled = Kernels("compiled C++", library.forward, library.backward, library.connection_dot)
    reason = "a C++ compiler is here" if wanted == "auto" else "asked for"
    return compiled, reason + (f"; {library.remark}" if library.remark else "")


def fused(size: RuleSize, device: torch.device) -> Kernels:
    """The Triton path, once it has given what the definition gives on `device`.

    Raises cpp.Unavailable with the reason where it cannot be had or gives something else.
    """
    try:
        from cell_train.model.kernels import triton_step as step

        found = Kernels("fused Triton", step.forward, step.backward, step.connection_dot, half=True)
        for periodic in (False, True):
            _compare(found, size, device, periodic)
    except ImportError as error:
        raise cpp.Unavailable(f"Triton cannot be imported: {error}") from error
    except Exception as error:  # a compiler and a driver stand behind it: they may raise anything
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise cpp.Unavailable(f"the Triton step failed its check: {lines[0]}") from error
    return found


def _compare(found: Kernels, size: RuleSize, device: torch.device, periodic: bool) -> None:
    """Raises where `found` on `device` differs from the definition, computed on the CPU."""
    generator = torch.Generator().manual_seed(0)
    here = wire((5, 3, 4), density=0.5, strengths=(0.5, 1.5), seed=0, periodic=periodic)
    rule = [w.detach() for w in CellRule(size, generator).weights()]
    rule = [w + 0.1 * torch.randn(w.shape, generator=generator) for w in rule]
    cells, d_next = torch.randn(2, 5, 3, 4, 2, size.channels, generator=generator)

    def run(kernels: Kernels, device: torch.device) -> dict[str, Tensor]:
        connections, weights = here.to(device), RuleWeights(*(w.to(device) for w in rule))
        record = torch.zeros(here.cells, 3, 2, device=device)  # [N, T, B]: activity is a slice
        at, d = cells.to(device), d_next.to(device)
        following = kernels.forward(connections, weights, at, record[:, 1])
        d_cells, d_rule = kernels.backward(connections, weights, at, d)
        product = kernels.connection_dot(
            connections, at.view(here.cells, -1), d.view(here.cells, -1)
        )
        names = [f"gradient of {name}" for name in RuleWeights._fields]
        results = {"cells": following, "activity": record, "gradient of cells": d_cells}
        return results | dict(zip(names, d_rule, strict=True)) | {"product": product}

    expected = run(PLAIN, torch.device("cpu"))
    for name, result in run(found, device).items():
        wanted, largest = expected[name], float(expected[name].abs().max())
        if not torch.allclose(result.cpu(), wanted, rtol=1e-3, atol=1e-4 * max(largest, 1e-3)):
            raise ValueError(f"{name} differs from the definition")
