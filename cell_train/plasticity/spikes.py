"""Graded spikes: activity passed on in whole quanta of the threshold, the rest kept."""

import torch
from torch import Tensor


def graded_spikes(
    activity: Tensor, threshold: float, residue: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Spikes [N, T, B] of `activity` [N, T, B] and the residue [N, B] left at the end.

    At each tick `s = theta floor((a + r) / theta)`, `r <- a + r - s`: over time the spikes carry
    all the activity, so that a cell below threshold speaks rarely instead of never.
    """
    # The running sum makes the recurrence closed: spikes are the differences of its quanta.
    total = activity.cumsum(1)
    if residue is not None:
        total += residue[:, None]
    quanta = torch.div(total, threshold).floor_()
    left = total[:, -1] - threshold * quanta[:, -1]
    spikes = total  # its room: nothing here is small
    torch.sub(quanta[:, 1:], quanta[:, :-1], out=spikes[:, 1:])
    spikes[:, 0] = quanta[:, 0]
    return spikes.mul_(threshold), left
