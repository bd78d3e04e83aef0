"""Mean drift of STDP under independent Poisson trains, against its formulas.

pair      r_x r_y (A+ g(tau+) - A- g(tau-))
triplet   r_x r_y (g(tau+) (A2+ + A3+ r_y g(tau_y)) - g(tau-) (A2- + A3- r_x g(tau_x)))

with g(tau) = 1 / (e^(1/tau) - 1), plus 1 where a coincident pair counts: the traces' mean over
the rate. Over normalised traces every g is 1, and all windows drift alike.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from cell_train.plasticity.stdp import StdpRule, Triplet, pair_stdp, triplet_stdp
from scripts.benchmarks.common import Result

WINDOWS = (20.0, 50.0, 100.0)
CONVENTIONS = ("exclusive", "inclusive", "pre-first")
PRE, POST = 0.06, 0.1  # spikes a tick
CHUNK = 500  # ticks at a time
PLAIN = StdpRule(1.0, 20.0, statistic="raw", normalised=False)
# The paper's ratios with a pair term too, large enough that every term can be wrong.
TRIPLET = Triplet(a2_plus=0.5, a3_plus=0.2, a2_minus=1.0, a3_minus=0.1)

Apply = Callable[[Tensor, Callable[[Tensor, Tensor], Tensor], Tensor | None], tuple[Tensor, Tensor]]
"""(spikes, dot, traces before) -> change [E], traces after."""


class Case(NamedTuple):
    apply: Apply
    windows: tuple[float, ...]  # of the traces it keeps, ticks
    expected: float  # drift a step


def drift(seeds: int) -> list[Result]:
    """Over 4,000 connections and 6,000 steps; the largest deviation of `seeds` repetitions."""
    return measure(4000, 6000, seeds)


def measure(connections: int, steps: int, seeds: int) -> list[Result]:
    off = {"pair": deviations(connections, steps, seeds, pair_cases())}
    off["triplet"] = deviations(connections, steps, seeds, triplet_cases())
    results = [
        Result(f"{name}_standard_errors", max(map(abs, found.values())), 3.0, "lower", found)
        for name, found in off.items()
    ]
    spread = {
        f"{convention} {branch}": spread_over_windows(connections, steps, convention, branch)
        for convention in CONVENTIONS
        for branch in ("a_plus", "a_minus")
    }
    return [*results, Result("spread_over_windows", max(spread.values()), 0.05, "lower", spread)]


def pair_cases() -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for window in WINDOWS:
        for convention in CONVENTIONS:
            rule = replace(PLAIN, time_window=window, coincidence=convention)
            gain = rule.a_plus * mean_trace(window, convention != "exclusive")
            loss = rule.a_minus * mean_trace(window, convention == "inclusive")
            expected = PRE * POST * (gain - loss)
            cases[f"{convention} {window:g}"] = Case(pairs(rule), (window,), expected)
    return cases


def triplet_cases() -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for window in WINDOWS:
        rule = replace(PLAIN, time_window=window, a_minus=1.0)
        windows = tuple(window * f for f in (1.0, TRIPLET.minus, TRIPLET.x, TRIPLET.y))
        g, minus, x, y = map(mean_trace, windows)
        gain = g * (TRIPLET.a2_plus + TRIPLET.a3_plus * POST * y)
        loss = minus * (TRIPLET.a2_minus + TRIPLET.a3_minus * PRE * x)
        cases[f"{window:g}"] = Case(triplets(rule), windows, PRE * POST * (gain - loss))
    return cases


def pairs(rule: StdpRule) -> Apply:
    return lambda spikes, dot, before: pair_stdp(spikes, rule, dot, before)


def triplets(rule: StdpRule) -> Apply:
    return lambda spikes, dot, before: triplet_stdp(spikes, rule, TRIPLET, dot, before)


def mean_trace(window: float, coincident: bool = False) -> float:
    """Of a train of rate 1: g, or g + 1."""
    return 1 / math.expm1(1 / window) + coincident


def deviations(
    connections: int, steps: int, seeds: int, cases: dict[str, Case]
) -> dict[str, float]:
    """By case the mean drift's distance from the formula in standard errors, over all seeds."""
    found = {}
    for name, case in cases.items():
        seen = torch.cat([drifts(case, connections, steps, seed) for seed in range(seeds)])
        error = float(seen.std()) / math.sqrt(len(seen))
        found[name] = round((float(seen.mean()) - case.expected) / error, 2)
    return found


def spread_over_windows(connections: int, steps: int, convention: str, branch: str) -> float:
    """Largest over smallest drift of the windows, less 1, with one branch and normalised traces."""
    rule = replace(PLAIN, normalised=True, persist_traces=True, coincidence=convention)
    rule = replace(rule, a_plus=float(branch == "a_plus"), a_minus=float(branch == "a_minus"))
    cases = [Case(pairs(replace(rule, time_window=w)), (w,), PRE * POST) for w in WINDOWS]
    seen = [abs(float(drifts(case, connections, steps, 0).mean())) for case in cases]
    return round(max(seen) / min(seen) - 1, 4)


def drifts(case: Case, connections: int, steps: int, seed: int) -> Tensor:
    """[connections] mean change a step, each connection between two trains of its own.

    The traces start at their mean: the mean drift is then the formula's from the first step on.
    """
    generator = torch.Generator().manual_seed(seed)
    rates = torch.tensor([PRE, POST], dtype=torch.float64).repeat_interleave(connections)

    def dot(at_cell: Tensor, at_source: Tensor) -> Tensor:
        return (at_cell[connections:] * at_source[:connections]).sum(1)

    total = torch.zeros(connections, dtype=torch.float64)
    before = torch.stack([rates[:, None] * mean_trace(w, coincident=True) for w in case.windows])
    before = before[0] if len(case.windows) == 1 else before
    for _ in range(steps // CHUNK):
        drawn = torch.rand(2 * connections, CHUNK, generator=generator)
        spikes = (drawn < rates[:, None]).double()[..., None]
        change, before = case.apply(spikes, dot, before)
        total += change
    return total / (steps // CHUNK * CHUNK)
