"""A change by three factors: its size, and that strengths alone lower a loss by it."""

import pytest
import torch

from cell_train.model import lattice
from cell_train.model.cell_rule import CellRule, RuleSize
from cell_train.model.kernels import select
from cell_train.model.network import Network
from cell_train.plasticity.competition import Bounds, project
from cell_train.plasticity.three_factor import three_factor
from cell_train.tasks.faces import OntoFace

SIZE = RuleSize(channels=6, hidden=10, kernels=2)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 4096.0])
def test_its_size_is_the_rate_whatever_the_loss_is_scaled_by(scale: float) -> None:
    credit = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    change = three_factor(scale * credit, 0.01)
    assert float(change.square().mean().sqrt()) == pytest.approx(0.01, rel=1e-5)
    assert torch.equal(change.sign(), credit.sign())


def test_no_credit_no_change() -> None:
    assert torch.equal(three_factor(torch.zeros(5), 0.1), torch.zeros(5))


@pytest.mark.parametrize("seed", range(3))
def test_strengths_alone_learn_by_it_and_not_by_its_opposite(seed: int) -> None:
    """The shared rule stays as it was drawn; incoming sums and bounds are kept as in training."""
    generator = torch.Generator().manual_seed(seed)
    x, wanted = torch.randn(2, 5, 5, 4, SIZE.channels, generator=generator)

    def losses(rate: float) -> list[float]:
        connections = lattice.wire((5, 5, 4), density=1.0, strengths=(0.75, 1.25), seed=seed)
        rule = CellRule(SIZE, torch.Generator().manual_seed(seed))
        net = Network(connections, rule, SIZE, select.PLAIN, ticks=6)
        seen = []
        for _ in range(30):
            credit = net.credit()
            cells, _ = net(x, OntoFace(), 4, credit)
            loss = (cells[:, :, -1] - wanted).square().mean()
            loss.backward()
            seen.append(float(loss.detach()))
            now = net.connections
            assert credit.grad is not None
            before = now.dense()
            proposed = before.clone()
            proposed[now.exists] += three_factor(credit.grad, rate)
            after = project(before, proposed, now.exists, before.sum(1), Bounds(0.1, 2.0))
            net = net.with_connections(now.with_strength(after[now.exists]))
        return seen

    by_credit, against = losses(0.005), losses(-0.005)
    assert by_credit[-1] < by_credit[0] < against[-1]
    assert by_credit[-1] < min(by_credit[:15])
