"""The aggregation, forward and backward, against the ways one would write it first.

Run as a module it is the eager arm in a process of its own, a round for each line it reads.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from cell_train.model.cell_rule import RuleSize
from cell_train.model.kernels.aggregate import aggregate as operation
from cell_train.model.kernels.aggregate import shifted
from cell_train.model.lattice import NEIGHBOURS, Connections
from cell_train.workers.launch import ALLOCATOR, THREADING
from scripts.benchmarks.common import ROOT, Result, interleaved, library, wired

DIMENSIONS, BATCH, CHANNELS = (48, 48, 36), 4, 16


def shifted_adds(
    connections: Connections, strength: Tensor, kernel: Tensor, cells: Tensor
) -> Tensor:
    """What autograd sees when the sum is written down as it is read, K = 1."""
    total = torch.zeros_like(cells)
    for o, seen in enumerate(shifted(connections, cells)):
        total = total + (kernel[0, o] * strength[..., o]) * seen
    return total


class Inputs:
    """What every arm sums over, density 1 and K = 1."""

    def __init__(self) -> None:
        self.connections = wired(DIMENSIONS, 1.0)
        self.strength = self.connections.dense().view(*DIMENSIONS, 1, 1, NEIGHBOURS)
        self.kernel = torch.randn(1, NEIGHBOURS, requires_grad=True)
        self.cells = torch.randn(*DIMENSIONS, BATCH, CHANNELS, requires_grad=True)
        self.ones = torch.ones_like(self.cells)

    def differentiate(self, sums: Tensor) -> None:
        torch.autograd.grad(sums, (self.kernel, self.cells), self.ones.view_as(sums))

    def written_down(self, adds: Callable[..., Tensor] = shifted_adds) -> None:
        self.differentiate(adds(self.connections, self.strength, self.kernel, self.cells))


def aggregate(rounds: int) -> list[Result]:
    inputs, ours = Inputs(), library(RuleSize(CHANNELS, 32, 1))
    fused = torch.compile(shifted_adds)

    def run_ours() -> None:
        gathers = ours.gather, ours.gather_back
        inputs.differentiate(operation(inputs.connections, inputs.kernel, inputs.cells, *gathers))

    few = max(rounds // 4, 3)
    near = interleaved({"ours": run_ours, "compile": lambda: inputs.written_down(fused)}, rounds)
    far = interleaved({"ours": run_ours, "eager": inputs.written_down}, few)
    with eager_as_installed() as run_eager:
        apart = interleaved({"ours": run_ours, "eager_as_installed": run_eager}, few)
    parts = {
        "milliseconds": {n: round(1e3 * s, 1) for n, s in (apart | near | far).items()},
        **{"dimensions": DIMENSIONS, "batch": BATCH, "channels": CHANNELS, "kernels": 1},
    }
    ratio = apart["eager_as_installed"] / apart["ours"]
    return [
        Result("vs_eager", far["eager"] / far["ours"], 30, "higher", parts),
        Result("vs_eager_as_installed", ratio, None, "higher", parts),
        Result("vs_compile", near["compile"] / near["ours"], 1.5, "higher", parts),
    ]


@contextmanager
def eager_as_installed() -> Iterator[Callable[[], None]]:
    """The eager arm without the worker's environment: as anyone has it who installs PyTorch."""
    tuned = {**ALLOCATOR, **THREADING}
    environment = {name: value for name, value in os.environ.items() if name not in tuned}
    argv = [sys.executable, "-m", "scripts.benchmarks.aggregate", str(torch.get_num_threads())]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, env=environment, cwd=ROOT) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        asked, answers = child.stdin, child.stdout

        def run() -> None:
            asked.write(b"\n")
            asked.flush()
            if not answers.readline():
                raise SystemExit("aggregate: the eager arm in its own process ended")

        yield run
        asked.close()


def main() -> None:
    torch.set_num_threads(int(sys.argv[1]))
    inputs = Inputs()
    for _ in sys.stdin:
        inputs.written_down()
        print(flush=True)


if __name__ == "__main__":
    main()
