"""Does activity carry itself on, and is the whole more than its parts? Figures of free dynamics.

All take records of B trials `[T, B, ...]` made while no input drives the cells, and look at how
trials deviate from their mean at each tick: what all trials share, such as dying away from the
input, says nothing about propagation.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

LAGS = 40  # ticks over which the regression slopes are fitted
SURROGATES = 99


def branching_ratio(activity: Tensor, lags: int = LAGS) -> float | None:
    """The branching ratio m of the summed `activity` [T, B], by multistep regression.

    The slopes r_k of A(t + k) on A(t) follow b m^k, where b < 1 if only a part of the cells is
    seen: the fit of both gives m also then (Wilting & Priesemann 2018). m < 1 dies out, 1 is
    critical. None where trials do not differ, or nothing of a difference lasts a tick.
    """
    deviation = _deviation(activity)
    lags = min(lags, len(deviation) // 4)
    power = deviation.square().sum()
    if lags < 2 or not _varies(activity, deviation):
        return None
    slopes = []
    for lag in range(1, lags + 1):
        pairs = deviation[:-lag].square().sum()
        slopes.append((deviation[:-lag] * deviation[lag:]).sum() / pairs.clamp_min(1e-12 * power))
    seen = torch.stack(slopes)
    if float(seen[0]) <= 0:
        return None
    low, high = 0.0, 1.5
    lag_numbers = torch.arange(1, lags + 1, dtype=torch.float64, device=seen.device)
    for _ in range(4):  # ever finer grids; b is linear, its best value known for each m
        grid = torch.linspace(low, high, 301, dtype=torch.float64, device=seen.device)
        shape = grid[:, None] ** lag_numbers
        norm = shape.square().sum(1).clamp_min(1e-300)
        explained = (shape @ seen).clamp_min(0).square() / norm
        best, step = float(grid[explained.argmax()]), (high - low) / 300
        low, high = max(best - 2 * step, 0.0), best + 2 * step
    return best


@dataclass(frozen=True)
class CausalEmergence:
    """Psi beside what it is where the parts' coordination is broken."""

    psi: float  # nats; above 0 is sufficient for causal emergence, below says nothing
    surrogate_mean: float
    p_value: float  # (1 + surrogates as high) / (1 + surrogates)


def causal_emergence(
    parts: Tensor, sizes: Tensor, generator: torch.Generator, surrogates: int = SURROGATES
) -> CausalEmergence | None:
    """Psi = I(V_t; V_t+1) - sum_j I(X^j_t; V_t+1) for V the mean of the K parts weighted by size.

    `parts` [T, B, K], `sizes` [K]. Gaussian mutual information, -1/2 ln(1 - rho^2) (Rosas et al.
    2020, equation 10, with one-dimensional V). Already independent persistent parts have Psi > 0:
    the surrogates keep each part's own dynamics and shift it in time against the others. None
    with fewer than two parts, or where trials do not differ.
    """
    deviation = _deviation(parts)
    if parts.shape[2] < 2 or not _varies(parts, deviation):
        return None
    weight = (sizes / sizes.sum()).to(deviation)
    psi = _psi(deviation, weight)
    ticks, _, count = deviation.shape
    shifts = torch.randint(1, ticks, (surrogates, count), generator=generator)
    tick = torch.arange(ticks)[:, None]
    null = []
    for shift in shifts:
        turned = ((tick + shift) % ticks).to(deviation.device)  # [T, K]
        null.append(_psi(deviation.gather(0, turned[:, None].expand_as(deviation)), weight))
    as_high = sum(one >= psi for one in null)
    return CausalEmergence(psi, sum(null) / len(null), (1 + as_high) / (1 + surrogates))


def _psi(deviation: Tensor, weight: Tensor) -> float:
    whole = deviation @ weight  # [T, B]
    before = torch.cat((whole[:-1, :, None], deviation[:-1]), 2)  # V, then the parts
    after = whole[1:, :, None]
    product = (before * after).sum((0, 1))
    scale = before.square().sum((0, 1)) * after.square().sum((0, 1))
    rho_squared = (product.square() / scale.clamp_min(1e-300)).clamp(max=1 - 1e-12)
    information = -0.5 * torch.log1p(-rho_squared)
    return float(information[0] - information[1:].sum())


def _deviation(record: Tensor) -> Tensor:
    """`record` [T, B, ...] less its mean over trials at each tick."""
    values = record.double()
    return values - values.mean(1, keepdim=True)


def _varies(record: Tensor, deviation: Tensor) -> bool:
    """Whether trials differ by more than rounding."""
    if record.shape[1] < 2 or not bool(torch.isfinite(deviation).all()):
        return False
    eps = torch.finfo(record.dtype).eps
    return float(deviation.norm()) > 8 * eps * float(record.double().norm())


def strength_distribution(strength: Tensor, low: float, high: float) -> dict[str, float | None]:
    """How the strengths [E] lie between their bounds.

    - variation: standard deviation over mean.
    - bimodality: Sarle's coefficient, (skewness^2 + 1) / kurtosis: 5/9 for a uniform
      distribution, 1/3 for a Gaussian, 1 for two points. Additive STDP drives it up.
    - at_bounds: share within a thousandth of the range from either.
    """
    if strength.numel() < 2:
        return {"variation": None, "bimodality": None, "at_bounds": None}
    values = strength.double()
    margin = (high - low) / 1000
    at_bounds = ((values <= low + margin) | (values >= high - margin)).double().mean()
    scale = values.std(correction=0)
    z = (values - values.mean()) / scale.clamp_min(1e-300)
    flat = float(scale) <= 1e-9 * abs(float(values.mean()))
    bimodality = (z.pow(3).mean().square() + 1) / z.pow(4).mean().clamp_min(1e-300)
    return {
        "variation": float(scale / values.mean()) if float(values.mean()) else None,
        "bimodality": None if flat or math.isnan(bimodality) else float(bimodality),
        "at_bounds": float(at_bounds),
    }
