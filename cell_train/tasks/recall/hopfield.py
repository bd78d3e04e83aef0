"""A Hopfield network on the lattice's neighbourhood: what recall is measured against.

Cells i and j that are neighbours (26 each, fewer at the borders) are joined by
w_ij = sum_mu xi_i^mu xi_j^mu, and a cell takes the sign of its sum (Hopfield 1982). Cells of one
colour, the parities of x, y and z, are not joined: updating a colour at a time is the sequential
update, under which the energy only falls.
"""

import torch
from torch import Tensor
from torch.nn import functional

SWEEPS = 50  # at most; it stops where nothing changes


def recall(patterns: Tensor, cues: Tensor) -> Tensor:
    """The states [B, X, Y, Z] that `cues`, in -1, 0 and 1, settle in; `patterns` [P, X, Y, Z]."""
    axes = [torch.arange(size) % 2 for size in cues.shape[1:]]
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    colour = 4 * x + 2 * y + z
    state = cues
    for _ in range(SWEEPS):
        before = state
        for now in range(8):
            field = _field(patterns, state)
            state = torch.where((colour == now) & (field != 0), field.sign(), state)
        if torch.equal(state, before):
            break
    return state


def _field(patterns: Tensor, state: Tensor) -> Tensor:
    """[B, X, Y, Z] sums over neighbours of w_ij s_j = sum_mu xi_i^mu sum_j (xi_j^mu s_j)."""
    products = state[:, None] * patterns  # [B, P, X, Y, Z]
    kernel = torch.ones(1, 1, 3, 3, 3)
    kernel[0, 0, 1, 1, 1] = 0
    near = functional.conv3d(products.flatten(0, 1)[:, None], kernel, padding=1)
    return (patterns * near.view(products.shape)).sum(1)
