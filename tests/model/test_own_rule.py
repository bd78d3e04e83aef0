"""A rule of the user's own runs on autograd to the same end as the built-in one by hand."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cell_train.errors import ConfigError
from cell_train.model import lattice
from cell_train.model.cell_rule import CellRule, RuleSize
from cell_train.model.kernels import reference, select
from cell_train.model.lattice import Connections
from cell_train.model.network import Network

SIZE = RuleSize(channels=6, hidden=10, kernels=2)
DIMENSIONS = (4, 3, 5)


class Same(nn.Module):
    """The built-in rule, as a user would write it."""

    def __init__(self, size: RuleSize, generator: torch.Generator) -> None:
        super().__init__()
        self.inner = CellRule(size, generator)

    def forward(self, connections: Connections, cells: Tensor) -> Tensor:
        return reference.step(connections, self.inner.weights(), cells)[0]


class Halved(nn.Module):
    def forward(self, connections: Connections, cells: Tensor) -> Tensor:
        return cells[..., :3]


def write(cells: Tensor, x: Tensor) -> Tensor:
    return torch.cat((x[:, :, None], cells[:, :, 1:]), 2)


def network(rule: Any, **how: Any) -> Network:
    connections = lattice.wire(DIMENSIONS, density=0.6, strengths=(0.75, 1.25), seed=0)
    return Network(connections, rule, SIZE, select.PLAIN, **{"ticks": 7, **how})


def presented(net: Network) -> list[Tensor]:
    x = torch.randn(4, 3, 2, 6, generator=torch.Generator().manual_seed(5)).requires_grad_()
    cells, activity = net(x, write, 2)
    cells[:, :, -1].square().sum().backward()
    assert x.grad is not None
    gradients = [p.grad for p in net.rule.parameters()]
    return [cells.detach(), activity, x.grad, *gradients]


@pytest.mark.parametrize("segment", [1, 3, 7])
def test_cells_activity_and_gradients_are_those_of_the_built_in_path(segment: int) -> None:
    make = partial(torch.Generator().manual_seed, 0)
    own = presented(network(Same(SIZE, make()), segment=segment))
    built_in = presented(network(CellRule(SIZE, make()), segment=segment))
    for a, b in zip(own, built_in, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("make", [Same, CellRule])
@pytest.mark.parametrize("storage", [torch.float32, torch.bfloat16])
def test_step_by_step_is_the_presentation(make: Any, storage: torch.dtype) -> None:
    net = network(make(SIZE, torch.Generator().manual_seed(0)), storage=storage, segment=2)
    x = torch.randn(4, 3, 2, 6, generator=torch.Generator().manual_seed(5))
    whole, _ = net(x, write, 2)
    cells = net.silence(2)
    for _ in range(net.ticks):
        cells = net.step(write(cells, x))
    assert torch.equal(cells, whole)


def test_a_rule_that_changes_the_cells_shape_is_named() -> None:
    with pytest.raises(ConfigError, match=r"made cells \[4, 3, 5, 2, 3\] of cells \[4, 3, 5, 2, 6"):
        network(Halved()).step(torch.zeros(*DIMENSIONS, 2, 6))
