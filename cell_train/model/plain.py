"""The step in plain torch operations: its definition, and the path where nothing is compiled.

Runs on every device, differentiates by autograd, and is what the compiled path is tested against.
"""

import torch
from torch import Tensor
from torch.nn import functional

from cell_train.model.cell_rule import EPSILON, RuleWeights
from cell_train.model.lattice import OFFSETS, Connections


def step(connections: Connections, rule: RuleWeights, cells: Tensor) -> tuple[Tensor, Tensor]:
    """One tick: `cells` [X, Y, Z, B, C] -> next cells, activity [N, B] (mean absolute change)."""
    perceived = perceive(connections, rule.kernel, cells)
    hidden = torch.relu(torch.cat((cells, *perceived), -1) @ rule.w1 + rule.b1)
    update, gate = (hidden @ rule.w2 + rule.b2).chunk(2, -1)
    candidate = perceived[0] + update
    candidate = candidate * torch.rsqrt(candidate.square().mean(-1, keepdim=True) + EPSILON)
    change = 0.5 * (1 + gate / (1 + gate.abs())) * (candidate - cells)
    return cells + change, change.detach().abs().mean(-1).flatten(0, 2)


def perceive(connections: Connections, kernel: Tensor, cells: Tensor) -> list[Tensor]:
    """K sums [X, Y, Z, B, C] over the strength-weighted neighbours, by shifted views."""
    strength = connections.dense().view(*connections.dimensions, 1, 1, len(OFFSETS))
    sums = [torch.zeros_like(cells) for _ in kernel]
    for o, seen in enumerate(_shifted(connections, cells)):
        weighted = strength[..., o] * seen
        sums = [total + weights[o] * weighted for total, weights in zip(sums, kernel, strict=True)]
    return sums


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
        (a * seen.flatten(0, 3)).sum(-1) for seen in _shifted(connections, volume)
    ]  # one [N] an offset
    return torch.stack(products, 1)[connections.exists]


def _shifted(connections: Connections, cells: Tensor) -> list[Tensor]:
    """26 views of padded `cells` [X, Y, Z, ...]: at each cell the state of neighbour o."""
    x, y, z = connections.dimensions
    flat = cells.reshape(x, y, z, -1)
    if connections.periodic:
        flat = torch.cat((flat[-1:], flat, flat[:1]), 0)
        flat = torch.cat((flat[:, -1:], flat, flat[:, :1]), 1)
        padded = functional.pad(flat, (0, 0, 1, 1))
    else:
        padded = functional.pad(flat, (0, 0, 1, 1, 1, 1, 1, 1))
    padded = padded.unflatten(-1, cells.shape[3:])
    return [
        padded[1 + dx : 1 + dx + x, 1 + dy : 1 + dy + y, 1 + dz : 1 + dz + z]
        for dx, dy, dz in OFFSETS
    ]
