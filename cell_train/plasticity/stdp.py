"""Spike-timing-dependent plasticity of pairs and of triplets, online, with traces in each cell.

Each tick the trace decays by d = exp(-1 / tau), is read, then takes the cell's spike:

    x <- d x          dw = lr (A+ post x_pre - A- x_post pre)          x <- x + s   (all-to-all)
                                                                       x <- s where s > 0 (nearest)

(Morrison, Diesmann, Gerstner 2008, section 4.1.) What a coincident pair of spikes does depends on
whether the trace is read before or after it takes the spike: `exclusive` reads before (NEST),
`inclusive` after (BindsNET), `pre-first` after for potentiation and before for depression (Brian2).

The triplet rule lets further traces of the same spikes weigh each pair (Triplet, below).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from cell_train.plasticity.dot import Dot


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
    if pairing == "all-to-all" and spikes.device.type != "cpu":
        return _traces_at_once(spikes, decay, start)
    before = torch.empty_like(spikes)
    trace = torch.zeros_like(spikes[:, 0]) if start is None else start
    for tick in range(spikes.shape[1]):
        read = torch.mul(trace, decay, out=before[:, tick])
        trace = _take(read, spikes[:, tick], pairing)
    return before, trace


def _traces_at_once(spikes: Tensor, decay: float, start: Tensor | None) -> tuple[Tensor, Tensor]:
    """`traces` of all-to-all pairing as one product with powers of the decay.

    For a device whose kernels are the dearer the more there are of them.
    """
    tick = torch.arange(spikes.shape[1], device=spikes.device)
    lag = tick[:, None] - tick
    powers = torch.where(lag > 0, decay ** lag.clamp_min(0).to(spikes.dtype), 0.0)  # [T, T]
    before = powers @ spikes
    if start is not None:
        before += decay ** (tick + 1).to(spikes.dtype)[:, None] * start[:, None]
    return before, before[:, -1] + spikes[:, -1]


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
    before, last = traces(spikes, rule.decay, rule.pairing, start)
    trace, told_apart = _Trace(before, rule.decay), _told_apart(spikes, rule)
    return _change(told_apart, told_apart, (trace, trace), spikes, rule, dot), last


@dataclass(frozen=True)
class Triplet:
    """What the triplet rule adds to a pair rule (Pfister & Gerstner 2006, equations 3 and 4).

        dw = lr (A+ post r1 (A2+ + A3+ o2) - A- o1 pre (A2- + A3- r2))

    r1 and r2 are traces of the source, of windows tau+ = `time_window` and tau_x; o1 and o2 those
    of the receiving cell, of windows tau- and tau_y. r2 and o2 are read before the tick's spikes
    whatever the convention. The defaults are the paper's for visual cortex (table 4, all-to-all:
    16.8, 33.7, 101, 125 ms; 5e-10, 6.2e-3, 7e-3, 2.3e-4) for normalised traces, in units of the
    pair depression: A2+ g+ : A3+ g+ g_y : A2- g- : A3- g- g_x = 0 : 54 : 1 : 3.3 for rates per
    ms. The rate where potentiation and depression balance (20 Hz there, as in BCM) is set to 0.2,
    the starting value of BCM's target activity.
    """

    minus: float = 2.0  # tau- as a multiple of time_window
    x: float = 6.0  # tau_x
    y: float = 7.4  # tau_y
    a2_plus: float = 0.0
    a3_plus: float = 5.33
    a2_minus: float = 1.0
    a3_minus: float = 0.33


def triplet_stdp(
    spikes: Tensor, rule: StdpRule, triplet: Triplet, dot: Dot, start: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """As `pair_stdp`, by the triplet rule; the last traces r1, o1, r2, o2 are [4, N, B].

    Equal to NEST's stdp_triplet_synapse with `statistic="raw"`, `normalised=False`, a_minus 1.
    """
    windows = [rule.time_window * factor for factor in (1.0, triplet.minus, triplet.x, triplet.y)]
    read = []
    for window, begin in zip(windows, [None] * 4 if start is None else start, strict=True):
        decay = math.exp(-1.0 / window)
        before, last = traces(spikes, decay, rule.pairing, begin)
        read.append((_Trace(before, decay), last))
    (r1, r1_last), (o1, o1_last), (r2, r2_last), (o2, o2_last) = read

    def weighed(pair: float, three: float, trace: _Trace) -> Tensor:
        three *= _normaliser(trace, spikes, rule, coincident=False)
        return _told_apart(spikes * (pair + three * trace.before), rule)

    post = weighed(triplet.a2_plus, triplet.a3_plus, o2)
    pre = weighed(triplet.a2_minus, triplet.a3_minus, r2)
    last = torch.stack((r1_last, o1_last, r2_last, o2_last))
    return _change(post, pre, (r1, o1), spikes, rule, dot), last


@dataclass(frozen=True)
class _Trace:
    before: Tensor  # [N, T, B] as read before the tick's spikes
    decay: float


def _normaliser(trace: _Trace, spikes: Tensor, rule: StdpRule, *, coincident: bool) -> float:
    if not rule.normalised or rule.pairing == "nearest":
        return 1.0
    ticks = None if rule.persist_traces else spikes.shape[1]
    return trace_normaliser(trace.decay, ticks, coincident=coincident)


def _told_apart(spikes: Tensor, rule: StdpRule) -> Tensor:
    """`spikes` [N, T, B] ready for the rule's statistic."""
    # Centring one factor is enough: sum_b (s - mean s) x = sum_b (s - mean s)(x - mean x).
    return spikes - spikes.mean(2, keepdim=True) if rule.statistic == "covariance" else spikes


def _change(
    post: Tensor,
    pre: Tensor,
    read: tuple[_Trace, _Trace],
    spikes: Tensor,
    rule: StdpRule,
    dot: Dot,
) -> Tensor:
    """[E]: `post` [N, T, B] at the cell with the first trace at the source, less the second trace
    at the cell with `pre` at the source; `post` and `pre` as `_told_apart` gives them."""

    def product(told_apart: Tensor, trace: _Trace, coincident: bool, at_cell: bool) -> Tensor:
        seen = _take(trace.before, spikes, rule.pairing) if coincident else trace.before
        ends = told_apart.flatten(1), seen.flatten(1)
        scale = _normaliser(trace, spikes, rule, coincident=coincident)
        return scale * (dot(*ends) if at_cell else dot(*reversed(ends)))

    potentiation = rule.a_plus * product(post, read[0], rule.coincidence != "exclusive", True)
    depression = rule.a_minus * product(pre, read[1], rule.coincidence == "inclusive", False)
    samples = spikes.shape[2] - (rule.statistic == "covariance")
    return rule.learning_rate / max(samples, 1) * (potentiation - depression)
