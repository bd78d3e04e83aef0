"""The one rule all cells share: perception, then a gated MLP, then a gated residual update.

    perceived_k = sum_o kernel[k, o] * strength_o * state(neighbour o)          k = 1..K
    u, g        = W2 relu(W1 [state, perceived_1..K] + b1) + b2
    candidate   = v m / (m + epsilon)^(3/2),   v = perceived_1 + u,   m = mean_c v^2
    state'      = state + gate(g) * (candidate - state),  gate(g) = (1 + g / (1 + |g|)) / 2

The candidate is normalised over a cell's channels because strengths are plastic: along a column
of Z cells their product would otherwise grow or vanish as w^Z. Of weak candidates less than their
share is left, so that silence is stable: were it merely damped, a cell still silent would pass on
any change several times larger, a column of cells ahead of the wave would multiply it, and the
biases' gradient would outgrow all others (1e15 times at 36 cells). The gate is a softsign rather
than a logistic: no exponential, and the same value on every path.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cell_train.model.lattice import NEIGHBOURS, OFFSETS

EPSILON = 0.01
"""Power m below which a candidate fades away instead of being normalised."""


class RuleWeights(NamedTuple):
    """What a step needs, as plain tensors."""

    kernel: Tensor  # [K, 26]
    w1: Tensor  # [(1 + K) C, H]
    b1: Tensor  # [H]
    w2: Tensor  # [H, 2 C]
    b2: Tensor  # [2 C]


@dataclass(frozen=True)
class RuleSize:
    channels: int  # C
    hidden: int  # H
    kernels: int  # K


class CellRule(nn.Module):
    """The trainable weights of the shared rule, started so that a signal crosses at once.

    Every kernel starts as "take from the cells behind" (the nine neighbours at z - 1, above all
    the one straight behind), and the gate starts nearly open: from the first batch the state
    moves one cell a tick towards the output face, where the loss is.
    """

    def __init__(self, size: RuleSize, generator: torch.Generator) -> None:
        super().__init__()
        c, h, k = size.channels, size.hidden, size.kernels

        def normal(*shape: int, std: float) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=generator) * std)

        behind = torch.tensor([float(dz == -1) for _, _, dz in OFFSETS])
        straight = OFFSETS.index((0, 0, -1))
        kernel = 0.5 * behind * torch.randn(k, NEIGHBOURS, generator=generator)
        kernel[:, straight] = 1.5
        self.kernel = nn.Parameter(kernel)
        self.w1 = normal((1 + k) * c, h, std=((1 + k) * c) ** -0.5)
        self.b1 = nn.Parameter(torch.zeros(h))
        self.w2 = normal(h, 2 * c, std=0.1 * h**-0.5)
        self.b2 = nn.Parameter(torch.cat((torch.zeros(c), torch.full((c,), 3.0))))

    def weights(self) -> RuleWeights:
        return RuleWeights(self.kernel, self.w1, self.b1, self.w2, self.b2)


class IsotropicRule(CellRule):
    """The same rule for a task without a direction: its kernels start alike towards all sides."""

    def __init__(self, size: RuleSize, generator: torch.Generator) -> None:
        super().__init__(size, generator)
        noise = torch.randn(size.kernels, NEIGHBOURS, generator=generator)
        self.kernel = nn.Parameter(1 + 0.1 * noise)


class GrowingRule(CellRule):
    """The same rule, started so that cells with an opacity (channel 3) spread slowly from a seed.

    No kernel looks one way; what a cell takes from its neighbours alone is little, and the gate
    starts less than half open. The bias on opacity keeps cells alive until they have learned more:
    a seed that dies at once is followed by no gradient.
    """

    def __init__(self, size: RuleSize, generator: torch.Generator) -> None:
        super().__init__(size, generator)
        c, h, k = size.channels, size.hidden, size.kernels
        kernel = 0.3 * torch.randn(k, NEIGHBOURS, generator=generator)
        kernel[0] /= 6
        w2 = torch.randn(h, 2 * c, generator=generator) * h**-0.5
        w2[:, c:] /= 10
        opacity = (torch.arange(c) == min(3, c - 1)).float()
        self.kernel, self.w2 = nn.Parameter(kernel), nn.Parameter(w2)
        self.b2 = nn.Parameter(torch.cat((opacity, torch.full((c,), -1.0))))
