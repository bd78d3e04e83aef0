"""The Bienenstock-Cooper-Munro rule with a sliding threshold in each cell.

    dw = eta pre post (post - theta)          theta <- theta + alpha (post^2 / y0 - theta)

(Bienenstock, Cooper, Munro 1982; the quadratic threshold after Intrator and Cooper 1992.)
A linear neuron settles where alpha > b / (1 - b), b = eta y0 |pre|^2, and cycles below it;
`planning.stability` says so before a run.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from cell_train.plasticity.dot import Dot


@dataclass(frozen=True)
class BcmRule:
    learning_rate: float  # eta
    theta_rate: float  # alpha
    target_activity: float  # y0


def bcm(activity: Tensor, theta: Tensor, rule: BcmRule, dot: Dot) -> tuple[Tensor, Tensor]:
    """The change [E] over a presentation and the threshold [N] after it.

    `activity` [N, T] (mean over the samples), `theta` [N]. Each tick uses the threshold before it.
    """
    if activity.device.type != "cpu":
        return _bcm_at_once(activity, theta, rule, dot)
    drive = torch.empty_like(activity)
    for tick in range(activity.shape[1]):
        post = activity[:, tick]
        drive[:, tick] = post * (post - theta)
        theta = theta + rule.theta_rate * (post.square() / rule.target_activity - theta)
    return rule.learning_rate * dot(drive, activity), theta


def _bcm_at_once(activity: Tensor, theta: Tensor, rule: BcmRule, dot: Dot) -> tuple[Tensor, Tensor]:
    """`bcm` with all ticks' thresholds as one product with powers of 1 - alpha.

    For a device whose kernels are the dearer the more there are of them.
    """
    ticks = activity.shape[1]
    tick = torch.arange(ticks + 1, device=activity.device)
    kept = 1 - rule.theta_rate
    lag = tick - 1 - tick[:ticks, None]  # [T, T + 1]: ticks that a square has been in a threshold
    powers = torch.where(lag >= 0, kept ** lag.clamp_min(0).to(activity.dtype), 0.0)
    settled = activity.square() @ (rule.theta_rate / rule.target_activity * powers)
    thresholds = settled + theta[:, None] * kept ** tick.to(activity.dtype)  # [N, T + 1]
    drive = activity * (activity - thresholds[:, :ticks])
    return rule.learning_rate * dot(drive, activity), thresholds[:, ticks]
