"""Competition between a cell's connections, and the projection every change goes through.

What the configuration calls lateral inhibition is heterosynaptic depression: connections from
cells that did not spike are weakened, whatever their neighbours do.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from cell_train import limits


@dataclass(frozen=True)
class CompetitionRule:
    winner_boost: float
    lateral_inhibition: float
    winners: int = 6
    kappa: float = 0.01  # share of the nominal factor applied at each step

    @property
    def idle(self) -> bool:
        return self.winner_boost == 1.0 and self.lateral_inhibition == 1.0


@dataclass(frozen=True)
class Bounds:
    low: float
    high: float
    step: float = 0.01  # largest change, as a share of max(|w|, the cell's mean)


def compete(
    proposed: Tensor, exists: Tensor, carried: Tensor, silent: Tensor, rule: CompetitionRule
) -> Tensor:
    """Boost each cell's k most active connections, weaken those from silent cells.

    All [N, 26]: `proposed` strengths, `exists` bool, `carried` what each connection brings in
    (strength times its source's mean activity), `silent` bool, true where the source did not spike.
    """

    def block(proposed: Tensor, exists: Tensor, carried: Tensor, silent: Tensor) -> Tensor:
        ranked = torch.where(exists & (carried > 0), carried, -torch.inf)
        best = ranked.topk(min(rule.winners, exists.shape[1]), dim=1)
        won = torch.zeros_like(exists).scatter_(1, best.indices, best.values > -torch.inf)
        factor = 1 + rule.kappa * (rule.winner_boost - 1) * won
        factor = factor * (1 + rule.kappa * (rule.lateral_inhibition - 1) * silent)
        return proposed * factor

    return _in_blocks(block, proposed, exists, carried, silent)


def project(
    before: Tensor, proposed: Tensor, exists: Tensor, total: Tensor, bounds: Bounds
) -> Tensor:
    """The strengths w' = clip(lambda proposed, lo, hi) whose incoming sum is `total`.

    `before`, `proposed` [N, 26] with zeros where `exists` is false, `total` [N]. [lo, hi] is
    `bounds` cut to before +- step max(|before|, the cell's mean); a total that this box cannot
    reach is moved to its nearest edge. Returns [N, 26] in the dtype of `before`.
    """

    def block(before: Tensor, proposed: Tensor, exists: Tensor, total: Tensor) -> Tensor:
        w = before.double()
        wanted = proposed.double().clamp_min(1e-9)
        degree = exists.sum(1, keepdim=True).clamp_min(1)
        reach = bounds.step * torch.maximum(w.abs(), w.sum(1, keepdim=True) / degree)
        lo = torch.where(exists, (w - reach).clamp(bounds.low, bounds.high), 0.0)
        hi = torch.where(exists, (w + reach).clamp(bounds.low, bounds.high), 0.0)
        goal = total.double()[:, None].clamp(lo.sum(1, keepdim=True), hi.sum(1, keepdim=True))
        find = _scale_to if before.device.type == "cpu" else _scale_at_once
        scale = find(goal, wanted, lo, hi)
        return (scale * wanted).clamp(lo, hi).to(before.dtype)

    return _in_blocks(block, before, proposed, exists, total)


def _in_blocks(rule: Callable[..., Tensor], first: Tensor, *others: Tensor) -> Tensor:
    """`rule` of a few cells at a time, one row each: what it computes in between stays small."""
    result = torch.empty_like(first)
    on_cpu = first.device.type == "cpu"
    size = limits.PROJECTION_BLOCK if on_cpu else limits.DEVICE_PROJECTION_BLOCK
    for begin in range(0, len(first), size):
        rows = slice(begin, begin + size)
        result[rows] = rule(first[rows], *(other[rows] for other in others))
    return result


def _scale_to(goal: Tensor, wanted: Tensor, lo: Tensor, hi: Tensor) -> Tensor:
    """lambda [N, 1] with sum_j clip(lambda wanted, lo, hi) = `goal` [N, 1].

    The sum rises with lambda: Newton's step on its linear pieces where that stays inside the
    bracket, else its middle. Cells that are done leave once they are most of those there are:
    what is copied on the way then never takes more than half a block.
    """
    scale = torch.ones_like(goal)
    rows = torch.arange(len(goal), device=goal.device)
    below, above = torch.zeros_like(goal), torch.full_like(goal, torch.inf)
    s = scale
    for _ in range(NEWTON_STEPS):
        scaled = s * wanted
        missing = goal - scaled.clamp(lo, hi).sum(1, keepdim=True)
        below = torch.where(missing > 0, s, below)
        above = torch.where(missing < 0, s, above)
        slope = torch.where((scaled > lo) & (scaled < hi), wanted, 0.0).sum(1, keepdim=True)
        newton = s + missing / slope
        inside = (newton > below) & (newton < above)
        middle = torch.where(above.isinf(), 2 * s, (below + above) / 2)
        open_ = missing.abs() > 1e-10 * goal
        left = int(open_.sum())
        if not left:
            break
        s = torch.where(open_, torch.where(inside, newton, middle), s)
        scale[rows] = s
        if 2 * left < len(rows):
            stay = open_[:, 0]
            rows, s, goal, below, above = (x[stay] for x in (rows, s, goal, below, above))
            wanted, lo, hi = wanted[stay], lo[stay], hi[stay]
    return scale


def _scale_at_once(goal: Tensor, wanted: Tensor, lo: Tensor, hi: Tensor) -> Tensor:
    """`_scale_to` exactly, in so many operations whatever it is given: no host waits for it.

    The sum is linear between the lambdas at which a connection leaves `lo` or reaches `hi`. In
    their order its slope there, and so its value, is a running sum.
    """
    bends, order = torch.cat((lo / wanted, hi / wanted), 1).sort(dim=1)
    slope = torch.cat((wanted, -wanted), 1).gather(1, order).cumsum(1)
    rise = (slope[:, :-1] * bends.diff(dim=1)).cumsum(1)
    value = lo.sum(1, keepdim=True) + torch.cat((torch.zeros_like(goal), rise), 1)
    last = ((value <= goal).sum(1, keepdim=True) - 1).clamp_min(0)
    missing, steep = goal - value.gather(1, last), slope.gather(1, last)
    # Beyond the last bend, and where no connection is free, any lambda will do.
    return bends.gather(1, last) + torch.where(steep > 1e-9, missing / steep, 0.0).clamp_min(0)


NEWTON_STEPS = 60
"""Halving alone would need about 40 for 1e-10; Newton usually ends within ten."""
