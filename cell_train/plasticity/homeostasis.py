"""Homeostatic synaptic scaling: a cell active beyond its target weakens all its connections alike.

    mean <- mean + alpha (activity - mean), each tick          dw = rate w (1 - mean / target)

Multiplicative, so that the ratios between a cell's connections stay (Turrigiano et al. 1998; the
form of van Rossum, Bi, Turrigiano 2000). It must be slow: in a recurrent net a homeostasis as
fast as what it balances oscillates. `alpha` belongs 10 to 100 times below BCM's theta_rate.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ScalingRule:
    rate: float  # share of a strength that a silent cell's connections gain at each step
    mean_rate: float  # alpha
    target_activity: float


def scaling(
    activity: Tensor, mean: Tensor | None, strength: Tensor, cell: Tensor, rule: ScalingRule
) -> tuple[Tensor, Tensor]:
    """The change [E] over a presentation and the running mean [N] after it.

    `activity` [N, T] (mean over the samples), `mean` [N] (None at
    the start: on target), `strength` [E], `cell` [E] int64, the
    cell each connection leads into.
    """
    if mean is None:
        mean = torch.full_like(activity[:, 0], rule.target_activity)
    ticks = activity.shape[1]
    age = torch.arange(ticks - 1, -1, -1, device=activity.device, dtype=activity.dtype)
    kept = 1 - rule.mean_rate
    mean = kept**ticks * mean + rule.mean_rate * (activity @ kept**age)
    return rule.rate * strength * (1 - mean / rule.target_activity)[cell], mean
