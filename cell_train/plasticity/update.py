"""All rules of a step together, and the one projection that turns their sum into strengths.

proposed = w + (1 - priority) (STDP + BCM) + priority cluster, then competition, then projection

Three options beside that: triplet STDP or a rule of the user's own in the place of pair STDP; a
change by three factors, added to STDP's and BCM's; and homeostatic scaling, which adds to what the
rules propose and so moves the sum that the projection keeps.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from cell_train.errors import ConfigError
from cell_train.plasticity.bcm import BcmRule, bcm
from cell_train.plasticity.competition import Bounds, CompetitionRule, compete, project
from cell_train.plasticity.dot import Dot
from cell_train.plasticity.homeostasis import ScalingRule, scaling
from cell_train.plasticity.spikes import graded_spikes
from cell_train.plasticity.stdp import StdpRule, Triplet, pair_stdp, triplet_stdp
from cell_train.plasticity.three_factor import three_factor

RULES: dict[str, frozenset[str]] = {
    "combined": frozenset(("stdp", "bcm", "competition")),
    "triplet": frozenset(("triplet", "bcm", "competition")),
    "stdp": frozenset(("stdp",)),
    "bcm": frozenset(("bcm",)),
    "competition": frozenset(("competition",)),
}
"""What each `plasticity_rule` applies."""
WITH_OWN = frozenset(("own", "bcm", "competition"))

OwnRule = Callable[[Tensor, Tensor, float, Dot], Tensor]
"""(spikes [N, T, B], strengths [E], the profile's learning rate, dot) -> changes [E]."""


@dataclass(frozen=True)
class PlasticityRule:
    """Everything a plastic step depends on besides the cells' history."""

    rule: str  # a key of RULES, or the name of `own`
    threshold: float  # activity_threshold
    stdp: StdpRule
    bcm: BcmRule
    competition: CompetitionRule
    bounds: Bounds
    triplet: Triplet = field(default_factory=Triplet)
    scaling: ScalingRule | None = None
    own: OwnRule | None = None
    credited: float = 0.0  # rate of the change by three factors
    priority: float = 0.0  # share of the update given to clustering
    similarity_threshold: float = 0.7


@dataclass(frozen=True)
class PlasticState:
    """What one step hands to the next."""

    theta: Tensor  # [N] BCM threshold
    trace: Tensor | None = None  # [N, B] or, of triplets, [4, N, B]; only with persist_traces
    residue: Tensor | None = None  # [N, B], only with persist_traces
    mean: Tensor | None = None  # [N] activity over many steps, only with homeostatic scaling

    def to(self, device: torch.device) -> "PlasticState":
        kept = {name: value.to(device) for name, value in vars(self).items() if value is not None}
        return replace(self, **kept)


@dataclass(frozen=True)
class Wiring:
    """The connections as the rules see them; E of the N x 26 possible exist."""

    strength: Tensor  # [E]
    exists: Tensor  # [N, 26] bool
    place: Tensor  # [E] int64, where each connection lies in [N, 26], flattened
    source: Tensor  # [E] int64, the cell each connection comes from

    def spread(self, values: Tensor) -> Tensor:
        """[E] values laid out as [N, 26], 0 where there is no connection."""
        field = values.new_zeros(self.exists.numel())
        return field.index_copy_(0, self.place, values).view(self.exists.shape)

    def gathered(self, field: Tensor) -> Tensor:
        """[E] from [N, 26], the inverse of `spread`."""
        return field.flatten()[self.place]


@dataclass(frozen=True)
class Affinity:
    """How alike the two ends of each connection are, where both are in one cluster."""

    cosine: Tensor  # [E]
    together: Tensor  # [E] bool


@dataclass(frozen=True)
class Outcome:
    """What a step makes of the strengths, and figures of it, each a number on the same device."""

    strength: Tensor  # [E]
    state: PlasticState
    change: Tensor  # mean absolute change of a strength
    active: Tensor  # share of (cell, tick, sample) with a spike
    spiking: Tensor  # share of cells that spiked at all
    activity: Tensor  # mean over (cell, tick, sample)


def plastic_step(
    wiring: Wiring,
    activity: Tensor,
    state: PlasticState,
    rule: PlasticityRule,
    dot: Dot,
    affinity: Affinity | None = None,
    credit: Tensor | None = None,
) -> Outcome:
    """The strengths after one step's activity [N, T, B]; nothing is changed in place.

    `credit` [E] is what `three_factor` goes by.
    """
    spikes, residue = graded_spikes(activity, rule.threshold, state.residue)
    spiked = (spikes.sum(1) > 0).any(1)
    mean = activity.mean(2)
    del activity  # a caller that does not hold it gets its room back here
    rules = WITH_OWN if rule.own else RULES[rule.rule]
    w = wiring.strength
    change = torch.zeros_like(w)
    if rule.own is not None:
        change += _own(rule.own, spikes, w, rule.stdp.learning_rate, dot)
    if rules & {"stdp", "triplet"}:
        if "triplet" in rules:
            delta, trace = triplet_stdp(spikes, rule.stdp, rule.triplet, dot, state.trace)
        else:
            delta, trace = pair_stdp(spikes, rule.stdp, dot, state.trace)
        change += delta
        if rule.stdp.persist_traces:
            state = replace(state, trace=trace, residue=residue)
    if "bcm" in rules and rule.bcm.learning_rate > 0:
        delta, theta = bcm(mean, state.theta, rule.bcm, dot)
        change += delta
        state = replace(state, theta=theta)
    if credit is not None:
        change += three_factor(credit, rule.credited)
    if affinity is not None:
        change = (1 - rule.priority) * change + rule.priority * cluster_change(
            w, affinity, rule.stdp.learning_rate, rule.similarity_threshold
        )
    if rule.scaling is not None:
        cell = wiring.place // wiring.exists.shape[1]
        delta, average = scaling(mean, state.mean, w, cell, rule.scaling)
        change = change + delta
        state = replace(state, mean=average)
    before, proposed = wiring.spread(w), wiring.spread(w + change)
    total = proposed.sum(1)
    if "competition" in rules and not rule.competition.idle:
        carried = wiring.spread((w + change) * mean.mean(1)[wiring.source])
        silent = wiring.spread(~spiked[wiring.source])
        proposed = compete(proposed, wiring.exists, carried, silent, rule.competition)
    projected = project(before, proposed, wiring.exists, total, rule.bounds)
    strength = wiring.gathered(projected)
    return Outcome(
        strength,
        state,
        change=(strength - w).abs().mean() if w.numel() else w.new_zeros(()),
        active=spikes.count_nonzero() / max(spikes.numel(), 1),
        spiking=spiked.float().mean(),
        activity=mean.mean(),
    )


def _own(rule: OwnRule, spikes: Tensor, w: Tensor, rate: float, dot: Dot) -> Tensor:
    """[E], what a user's rule makes of a step. Raises ConfigError where it is no such thing."""
    delta = rule(spikes, w, rate, dot)
    if not isinstance(delta, Tensor) or delta.shape != w.shape:
        made = list(delta.shape) if isinstance(delta, Tensor) else type(delta).__name__
        raise ConfigError(
            f"plasticity.plasticity_rule: made {made} of {len(w)} connections; a change of each,"
            f" [{len(w)}], is wanted."
        )
    return delta.detach()


def cluster_change(w: Tensor, affinity: Affinity, rate: float, threshold: float) -> Tensor:
    """[E]: connections inside a functional cluster strengthen as far as their ends are alike."""
    return rate * (affinity.cosine - threshold) * w * affinity.together


def amplified(wiring: Wiring, ratio: Tensor, bounds: Bounds) -> Tensor:
    """Strengths [E] moved towards `ratio` [N] times their incoming sums, within the step's box."""
    before = wiring.spread(wiring.strength)
    proposed = before * ratio[:, None]
    return wiring.gathered(project(before, proposed, wiring.exists, proposed.sum(1), bounds))
