"""A cell rule of your own: what every cell computes at a tick."""

import os

import torch
from torch import Tensor, nn

import cell_train
from cell_train.model import NEIGHBOURS, OFFSETS, Connections, RuleSize, aggregate


class Leaky(nn.Module):
    """state' = state + leak * (tanh(seen_1 + W [state, seen_1..K]) - state)."""

    def __init__(self, size: RuleSize, generator: torch.Generator) -> None:
        super().__init__()
        kernel = 0.05 * torch.randn(size.kernels, NEIGHBOURS, generator=generator)
        kernel[:, OFFSETS.index((0, 0, -1))] = 1.5  # the cell behind: a signal crosses at once
        width = (1 + size.kernels) * size.channels
        mix = 0.1 * torch.randn(width, size.channels, generator=generator)
        self.kernel, self.mix = nn.Parameter(kernel), nn.Parameter(mix)
        self.leak = nn.Parameter(torch.tensor(2.0))

    def forward(self, connections: Connections, cells: Tensor) -> Tensor:
        """The cells [X, Y, Z, B, C] a tick later, seen through the plastic strengths."""
        seen = aggregate(connections, self.kernel, cells).unbind(3)  # K of [X, Y, Z, B, C]
        candidate = torch.tanh(seen[0] + torch.cat((cells, *seen), -1) @ self.mix)
        return cells + torch.sigmoid(self.leak) * (candidate - cells)


def main() -> None:
    os.environ["CELLTRAIN_TRUST"] = "own_rule"  # this file: to import it is to run it
    small = {"lattice.dimensions": [4, 4, 4], "dataset_limit": 300}
    ended = cell_train.run("1", overrides={**small, "lattice.rule": "own_rule:Leaky"})
    if ended.exit_code:
        raise SystemExit(ended.message)
    print(ended.stages[0]["metrics"])


if __name__ == "__main__":
    main()
