"""The step in plain torch operations: its definition, and the path where nothing is compiled.

Runs on every device, differentiates by autograd, and is what the compiled path is tested against.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from cell_train.model.cell_rule import EPSILON, RuleWeights
from cell_train.model.kernels.aggregate import aggregate, shifted
from cell_train.model.lattice import Connections


def step(connections: Connections, rule: RuleWeights, cells: Tensor) -> tuple[Tensor, Tensor]:
    """One tick: `cells` [X, Y, Z, B, C] -> next cells, activity [N, B] (mean absolute change)."""
    return rest_of_step(rule, cells, aggregate(connections, rule.kernel, cells).unbind(3))


def rest_of_step(
    rule: RuleWeights, cells: Tensor, perceived: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """The tick after the K sums [X, Y, Z, B, C] are `perceived`."""
    hidden = torch.relu(torch.cat((cells, *perceived), -1) @ rule.w1 + rule.b1)
    update, gate = (hidden @ rule.w2 + rule.b2).chunk(2, -1)
    candidate = perceived[0] + update
    power = candidate.square().mean(-1, keepdim=True)
    candidate = candidate * power * torch.rsqrt(power + EPSILON) ** 3
    change = 0.5 * (1 + gate / (1 + gate.abs())) * (candidate - cells)
    return cells + change, change.detach().abs().mean(-1).flatten(0, 2)


def forward(connections: Connections, rule: RuleWeights, cells: Tensor, activity: Tensor) -> Tensor:
    """One tick without a graph; `activity` [N, B] is filled in place."""
    with torch.no_grad():
        following, change = step(connections, rule, cells)
    activity.copy_(change)
    return following


def backward(
    connections: Connections, rule: RuleWeights, cells: Tensor, d_next: Tensor
) -> tuple[Tensor, RuleWeights]:
    """Gradients of one tick with respect to its cells and the rule; recomputes the forward."""
    with torch.enable_grad():
        inputs = [cells.detach().requires_grad_(), *(w.detach().requires_grad_() for w in rule)]
        following, _ = step(connections, RuleWeights(*inputs[1:]), inputs[0])
        gradients = torch.autograd.grad(following, inputs, d_next)
    return gradients[0], RuleWeights(*gradients[1:])


def connection_dot(connections: Connections, a: Tensor, b: Tensor) -> Tensor:
    """[E]: for each connection the inner product of `a` [N, L] at its cell, `b` at its source."""
    volume = b.view(*connections.dimensions, 1, -1)
    products = [
        (a * seen.flatten(0, 3)).sum(-1) for seen in shifted(connections, volume)
    ]  # one [N] an offset
    return torch.stack(products, 1)[connections.exists]
