"""The aggregation, forward and backward, against the ways one would write it first."""

import torch
from torch import Tensor

from cell_train.model.aggregate import aggregate as operation
from cell_train.model.aggregate import shifted
from cell_train.model.cell_rule import RuleSize
from cell_train.model.lattice import NEIGHBOURS, Connections
from scripts.benches.common import Result, interleaved, library, wired


def shifted_adds(
    connections: Connections, strength: Tensor, kernel: Tensor, cells: Tensor
) -> Tensor:
    """What autograd sees when the sum is written down as it is read, K = 1."""
    total = torch.zeros_like(cells)
    for o, seen in enumerate(shifted(connections, cells)):
        total = total + (kernel[0, o] * strength[..., o]) * seen
    return total


def aggregate(rounds: int) -> list[Result]:
    dimensions, batch, channels = (48, 48, 36), 4, 16
    connections = wired(dimensions, 1.0)
    strength = connections.dense().view(*dimensions, 1, 1, NEIGHBOURS)
    kernel = torch.randn(1, NEIGHBOURS, requires_grad=True)
    cells = torch.randn(*dimensions, batch, channels, requires_grad=True)
    ours = library(RuleSize(channels, 32, 1))
    fused = torch.compile(shifted_adds)
    ones = torch.ones(*dimensions, batch, channels)

    def run_ours() -> None:
        sums = operation(connections, kernel, cells, ours.gather, ours.gather_back)
        torch.autograd.grad(sums, (kernel, cells), ones[:, :, :, None])

    def run_eager() -> None:
        sums = shifted_adds(connections, strength, kernel, cells)
        torch.autograd.grad(sums, (kernel, cells), ones)

    def run_compiled() -> None:
        sums = fused(connections, strength, kernel, cells)
        torch.autograd.grad(sums, (kernel, cells), ones)

    near = interleaved({"ours": run_ours, "compile": run_compiled}, rounds)
    far = interleaved({"ours": run_ours, "eager": run_eager}, max(rounds // 4, 3))
    parts = {"milliseconds": {name: round(1e3 * s, 1) for name, s in (near | far).items()}}
    shape = {"dimensions": dimensions, "batch": batch, "channels": channels, "kernels": 1}
    return [
        Result("vs_eager", far["eager"] / far["ours"], 30, "higher", parts | shape),
        Result("vs_compile", near["compile"] / near["ours"], 1.5, "higher", parts | shape),
    ]
