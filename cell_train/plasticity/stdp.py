"""Pair-based spike-timing-dependent plasticity, in its online form with one trace a cell.

Each tick the trace decays by d = exp(-1 / tau), is read, then takes the cell's spike:

    x <- d x          dw = lr (A+ post x_pre - A- x_post pre)          x <- x + s   (all-to-all)
                                                                       x <- s where s > 0 (nearest)

(Morrison, Diesmann, Gerstner 2008, section 4.1.) What a coincident pair of spikes does depends on
whether the trace is read before or after it takes the spike: `exclusive` reads before (NEST),
`inclusive` after (BindsNET), `pre-first` after for potentiation and before for depression (Brian2).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from cell_train.plasticity import Dot


@dataclass(frozen=True)
class StdpRule:
    learning_rate: float
    time_window: float  # tau, ticks
    a_plus: float = 1.0
    a_minus: float = 1.05
    pairing: str = "all-to-all"  # or nearest
    coincidence: str = "exclusive"  # or inclusive, pre-first
    statistic: str = "covariance"  # over the samples of a batch; or raw, the textbook rule
    normalised: bool = True
    persist_traces: bool = False

    @property
    def decay(self) -> float:
        return math.exp(-1.0 / self.time_window)


def traces(
    spikes: Tensor, decay: float, pairing: str, start: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The trace [N, T, B] as read before each tick's spikes, and the last one [N, B]."""
    before = torch.empty_like(spikes)
    trace = torch.zeros_like(spikes[:, 0]) if start is None else start
    for tick in range(spikes.shape[1]):
        read = torch.mul(trace, decay, out=before[:, tick])
        trace = _take(read, spikes[:, tick], pairing)
    return before, trace


def _take(trace: Tensor, spikes: Tensor, pairing: str) -> Tensor:
    """The trace after it took the spikes."""
    return trace + spikes if pairing == "all-to-all" else torch.where(spikes > 0, spikes, trace)


def trace_normaliser(decay: float, ticks: int | None, *, coincident: bool) -> float:
    """The factor that makes independent trains drift alike whatever the window.

    A train of rate r leaves a mean trace of r g, with g summed over a presentation of `ticks`
    that starts silent: g T = sum_t sum_{k<=t} d^k, from k = 0 where coincident pairs count, else
    from k = 1. The factor is 1 / g; for `ticks` None (endless) it is 1 - d, or (1 - d) / d.
    """
    first = 0 if coincident else 1
    if ticks is None:
        return (1 - decay) / decay**first
    lags = range(first, ticks)
    gain = sum((ticks - lag) * decay**lag for lag in lags)
    return ticks / gain if gain > 0 else 0.0


def pair_stdp(
    spikes: Tensor, rule: StdpRule, dot: Dot, start: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The change [E] of each connection over a presentation and the last trace [N, B].

    `spikes` [N, T, B]. With `statistic="covariance"` each product of histories is the covariance
    over the B samples at each tick, summed over ticks: what the samples have in common (the wave
    that runs in from the input face) cancels, what tells them apart remains. One sample has no
    covariance, and the change is zero.
    """
    _, ticks, batch = spikes.shape
    before, last = traces(spikes, rule.decay, rule.pairing, start)
    coincident_plus = rule.coincidence in ("inclusive", "pre-first")
    coincident_minus = rule.coincidence == "inclusive"
    if rule.statistic == "covariance":
        spikes_c = spikes - spikes.mean(2, keepdim=True)
        samples = batch - 1
    else:
        spikes_c, samples = spikes, batch
    if samples == 0:
        return torch.zeros_like(dot(spikes.flatten(1), before.flatten(1))), last

    def product(coincident: bool, spikes_at_cell: bool) -> Tensor:
        # Centring one factor is enough: sum_b (s - mean s) x = sum_b (s - mean s)(x - mean x).
        read = _take(before, spikes, rule.pairing) if coincident else before
        trace, spiking = read.flatten(1), spikes_c.flatten(1)
        pair = dot(spiking, trace) if spikes_at_cell else dot(trace, spiking)
        if not rule.normalised or rule.pairing == "nearest":
            return pair
        span = None if rule.persist_traces else ticks
        return pair * trace_normaliser(rule.decay, span, coincident=coincident)

    potentiation = rule.a_plus * product(coincident_plus, spikes_at_cell=True)
    depression = rule.a_minus * product(coincident_minus, spikes_at_cell=False)
    return rule.learning_rate / samples * (potentiation - depression), last
