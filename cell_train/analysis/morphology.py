"""Periodic structure in a lattice field: is a wave there, which one, and make it stronger.

Inspired by the morphology of trained networks in de Jong, Meigel, Rulands (arXiv 2501.05550);
that paper looks at path connectivity in layered networks. Fourier modes of the mean strength per
cell on a three-dimensional lattice are our extension, not theirs.

A wave is believed when one and the same Fourier mode beats three things:

1. **permutation**: the field with its cells shuffled, which is white noise. Its normalised powers
   are Exp(1) by Hajek's central limit theorem for permutations, so no shuffling is needed.
2. **its own shell**: the modes of nearly the same |k|. Smooth random fields pass the first test
   always, because their power sits at low |k|; they do not pass this one.
3. **its own lines**: the modes that share two of its three components. A profile along an axis (a
   gradient with depth, a border unlike the inside) fills a whole line of Fourier space. A wave
   does not.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

MIN_SIDE = 6  # cells: fewer leave no wave of two periods that is not also the finest one there is
SHELL = (32, 256)  # modes on either side of a mode, at least and at most
SHELL_GROWTH = 2.0  # between those, a shell spans ranks r/2 to 2 r: 26 % in |k| to either side
CLIP = 4.0  # shell members count up to 4 means, so that the five other waves of a hexagon stay out
EULER_GAMMA = 0.5772156649015329
LINE_CONTRAST = 4.0  # over the rest of its lines: profiles reach 3, waves of broken periods 5


@dataclass(frozen=True)
class Periodicity:
    """What `periodic_structure` found."""

    tested: bool
    reason: str  # why it was not tested, or what decided
    p_value: float | None = None  # for the whole field, over all modes
    significant: bool = False
    wavevector: tuple[int, int, int] | None = None  # periods along X, Y, Z (signed, Z >= 0)
    peak_ratio: float | None = None  # power over the mean of its shell
    power: float | None = None  # power over the mean of white noise of the same variance


@dataclass(frozen=True)
class _Modes:
    """One of each pair k, -k of a lattice's Fourier modes without k = 0, sorted by |k|."""

    index: Tensor  # [M] into the flattened rfftn grid
    wavevector: Tensor  # [M, 3] periods along each axis, signed
    frequency: Tensor  # [M] |k| in periods per cell
    real: Tensor  # [<= 7] ranks of the modes with k = -k: their coefficients are real numbers
    pair: Tensor  # [2, M] k and -k in the flattened fftn grid
    own: Tensor  # [3, M] how many of k and -k are on k's line along each axis
    axis_period: Tensor  # [M] bool: one period along one axis, which a gradient looks like
    shell: Tensor  # [2, M] first and one-past-last rank of each mode's shell
    basis: Tensor  # [M, 6] 1, ln|k|, ln²|k|, k_x², k_y², k_z²
    solver: Tensor  # [6, M] least squares in that basis


@lru_cache(maxsize=8)
def _modes(shape: tuple[int, int, int], device: torch.device) -> _Modes:
    f64 = torch.float64
    sides = torch.tensor(shape)
    axes = [torch.fft.fftfreq(n, 1 / n, dtype=f64).round().long() for n in shape[:2]]
    axes.append(torch.arange(shape[2] // 2 + 1))
    k = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)  # [G, 3]
    strides = torch.tensor([shape[1] * shape[2], shape[2], 1])
    pair = torch.stack((k % sides @ strides, -k % sides @ strides))
    # The planes k_z = 0 and k_z = Z/2 hold both k and -k: keep the one that comes first.
    in_plane = 2 * k[:, 2] % shape[2] == 0
    index = ((~in_plane | (pair[0] <= pair[1])) & (pair[0] > 0)).nonzero().squeeze(1)
    frequency = (k[index] / sides).to(f64).square().sum(-1).sqrt()
    frequency, by_frequency = frequency.sort(stable=True)
    index = index[by_frequency]
    k, pair = k[index], pair[:, index]
    alone = 2 * k % sides == 0  # [M, 3] component equals its own negative
    own = torch.stack([1 + (alone[:, a - 2] & alone[:, a - 1] & ~alone[:, a]) for a in range(3)])

    ranks = torch.arange(1, len(index) + 1, dtype=f64)
    low = torch.minimum(ranks / SHELL_GROWTH, ranks - SHELL[0]).maximum(ranks - SHELL[1])
    high = torch.maximum(ranks * SHELL_GROWTH, ranks + SHELL[0]).minimum(ranks + SHELL[1])
    shell = torch.stack((low.long() - 1, high.long())).clamp(0, len(index))

    log_k = frequency.log()[:, None]
    basis = torch.cat((log_k**0, log_k, log_k**2, (k / sides).to(f64) ** 2), 1)
    return _Modes(
        index=index.to(device),
        wavevector=k.to(device),
        frequency=frequency.to(device),
        real=alone.all(-1).nonzero().squeeze(1).to(device),
        pair=pair.to(device),
        own=own.to(device),
        axis_period=(k.abs().sum(-1) == 1).to(device),
        shell=shell.to(device),
        basis=basis.to(device),
        solver=torch.linalg.pinv(basis).to(device),
    )


def power_spectrum(field: Tensor) -> Tensor:
    """Power of every Fourier mode of a field, as a multiple of white noise's mean.

    `field [X, Y, Z]` gives `[X, Y, Z // 2 + 1]` (float64): |rfftn(field - mean)|² / (N variance),
    without a window, so that the modes of white noise are independent. A constant field has none.
    """
    if not _varies(field):
        return torch.zeros_like(field, dtype=torch.float64)[..., : field.shape[-1] // 2 + 1]
    centred = field.double() - field.double().mean()
    power: Tensor = torch.fft.rfftn(centred).abs().square() / centred.square().sum()
    return power


def _varies(field: Tensor) -> bool:
    """Whether the field is more than one number and its rounding."""
    eps = torch.finfo(field.dtype).eps if field.is_floating_point() else 0.0
    return float(field.max() - field.min()) > 8 * eps * float(field.abs().max())


def _untestable(field: Tensor) -> str | None:
    if min(field.shape) < MIN_SIDE:
        sides = "x".join(map(str, field.shape))
        return f"{sides} is too small: a side has fewer than {MIN_SIDE} cells"
    if not bool(torch.isfinite(field).all()):
        return "the field is not finite"
    if not _varies(field):
        return "the field is constant"
    return None


def _log_tail(ratio: Tensor, modes: _Modes, others: Tensor | None = None) -> Tensor:
    """`[M]` log P(power / mean power of `others` modes >= ratio) for Gaussian noise.

    Complex modes: F(2, 2n), exactly (1 + ratio/n)^-n. Real ones: F(1, 2n), through Wallace's normal
    approximation to Student's t (1959). Without `others` the mean is known: Exp(1) and chi²(1).
    """
    complex_tail = -ratio if others is None else -others * torch.log1p(ratio / others)
    z_squared = ratio[modes.real]
    if others is not None:
        dof = 2 * others[modes.real]
        z_squared = dof * torch.log1p(z_squared / dof)
    complex_tail[modes.real] = math.log(2) + torch.special.log_ndtr(-z_squared.sqrt())
    return complex_tail


def _whitened(power: Tensor, modes: _Modes) -> Tensor:
    """`[M]` powers over a smooth background: red noise, bent (ln|k|, ln²|k|), and diffused (k_i²).

    Fitted to log power, where a few high peaks weigh little. Noise ends with mean 1:
    E ln Exp(1) = -0.5772.
    """
    log_power = power.clamp(min=1e-300).log()
    return (log_power - modes.basis @ (modes.solver @ log_power) - EULER_GAMMA).exp()


def _over_shell(white: Tensor, modes: _Modes) -> tuple[Tensor, Tensor]:
    """`[M]` power over the mean of the other modes in its shell, and how many those are."""
    clipped = white.clamp(max=CLIP)
    running = torch.cat((clipped.new_zeros(1), clipped.cumsum(0)))
    others = (modes.shell[1] - modes.shell[0] - 1).to(white.dtype)
    mean = (running[modes.shell[1]] - running[modes.shell[0]] - clipped) / others
    return white / mean * -math.expm1(-CLIP), others  # E min(Exp(1), c) = 1 - e^-c


def _over_lines(white: Tensor, shape: tuple[int, int, int], modes: _Modes) -> Tensor:
    """`[M]` power over the mean of the other modes on a line through it, the least of its three.

    A line holds the modes that differ in one component only; k and -k are one mode.
    """
    grid = white.new_zeros(shape[0] * shape[1] * shape[2])
    grid[modes.pair] = white
    grid = grid.view(shape)
    least = torch.full_like(white, math.inf)
    for axis, (side, own) in enumerate(zip(shape, modes.own, strict=True)):
        line = grid.sum(axis, keepdim=True).expand(shape).flatten()[modes.pair[0]]
        least = torch.minimum(least, white * (side - own) / (line - own * white))
    return least


def periodic_structure(
    field: Tensor,
    *,
    permutations: int = 0,
    generator: torch.Generator | None = None,
    level: float = 0.01,
) -> Periodicity:
    """Look for the wave that best beats the three nulls of this module in `field [X, Y, Z]`.

    Each mode gets the larger of its permutation and its shell tail probability; the smallest over
    the M modes that stand out from their lines becomes p = 1 - (1 - tail)^M (Sidak). A single
    period along one axis is never taken for a wave: it looks like a gradient.

    `permutations > 0` shuffles the cells so many times with `generator` and reports no p-value
    below (1 + shuffles with a peak as high) / (1 + permutations), for distributions of values so
    odd that the limit theorem is in doubt; fewer than 1 / level - 1 of them can find nothing.
    """
    reason = _untestable(field)
    if reason is not None:
        return Periodicity(tested=False, reason=reason)
    shape = (field.shape[0], field.shape[1], field.shape[2])
    modes = _modes(shape, field.device)
    power = power_spectrum(field).flatten()[modes.index]
    white = _whitened(power, modes)
    ratio, others = _over_shell(white, modes)

    by_permutation = _log_tail(power, modes)
    by_shell = _log_tail(ratio, modes, others)
    stands_out = (_over_lines(white, shape, modes) >= LINE_CONTRAST) & ~modes.axis_period
    tail = torch.where(stands_out, torch.maximum(by_permutation, by_shell), 0.0)
    best = int(tail.argmin())
    count = len(modes.index)
    p_value = _sidak(float(tail[best]), count)
    shuffled = 0.0
    if permutations > 0:
        shuffled = _permutation_p_value(field, float(power[best]), permutations, generator)
        p_value = max(p_value, shuffled)

    significant = p_value <= level
    if significant:
        reason = "the peak beats the permutation null, its shell and its lines"
    elif max(shuffled, _sidak(float(by_permutation.min()), count)) > level:
        reason = "no peak beats the permutation null"
    else:
        reason = "no peak that beats the permutation null also beats its shell and its lines"
    x, y, z = modes.wavevector[best].tolist()
    return Periodicity(
        tested=True,
        reason=reason,
        p_value=p_value,
        significant=significant,
        wavevector=(x, y, z),
        peak_ratio=float(ratio[best]),
        power=float(power[best]),
    )


def _sidak(log_tail: float, count: int) -> float:
    """P(the smallest of `count` independent tail probabilities <= e^log_tail)."""
    tail = math.exp(log_tail)
    return 1.0 if tail >= 1.0 else -math.expm1(count * math.log1p(-tail))


def _permutation_p_value(
    field: Tensor, power: float, permutations: int, generator: torch.Generator | None
) -> float:
    """(1 + shuffled fields whose highest power is >= `power`) / (1 + permutations)."""
    device = generator.device if generator is not None else field.device
    as_high = 0
    for _ in range(permutations):
        order = torch.randperm(field.numel(), generator=generator, device=device)
        shuffled = field.flatten()[order.to(field.device)].view_as(field)
        as_high += int(power_spectrum(shuffled).max() >= power)
    return (1 + as_high) / (1 + permutations)


def spectrum_summary(field: Tensor) -> dict[str, float | None]:
    """What a log line says about the spectrum of `field [X, Y, Z]`; None where there is none.

    - dominant_wavelength: of the strongest mode, in cells.
    - slope: beta of power ~ 1/|k|^beta, least squares over all modes in log-log; 0 is white.
    - entropy: of the power's distribution over modes, over its maximum; near 1 for white noise
      (1 - 0.42 / ln(modes) on average), 0 for a single wave.
    """
    modes = _modes((field.shape[0], field.shape[1], field.shape[2]), field.device)
    if len(modes.index) < 2 or not bool(torch.isfinite(field).all()) or not _varies(field):
        return {"dominant_wavelength": None, "slope": None, "entropy": None}
    power = power_spectrum(field).flatten()[modes.index]
    log_k = modes.frequency.log()
    log_k = log_k - log_k.mean()
    share = power / power.sum()
    return {
        "dominant_wavelength": float(1 / modes.frequency[power.argmax()]),
        "slope": float(-(log_k @ power.clamp(min=1e-300).log()) / (log_k @ log_k)),
        "entropy": float(torch.special.entr(share).sum() / math.log(len(share))),
    }


def amplify(field: Tensor, periodicity: Periodicity, gain: float) -> Tensor:
    """`field [X, Y, Z]` with the found wave's amplitude times `gain`; unchanged if there is none.

    The mean and all other modes stay what they were. The caller takes field'/field as a proposal
    for the strengths and projects it onto their bounds.
    """
    if not periodicity.significant or periodicity.wavevector is None:
        return field
    phase = torch.zeros((), dtype=torch.float64, device=field.device)
    for periods, side in zip(periodicity.wavevector, field.shape, strict=True):
        cell = torch.arange(side, dtype=torch.float64, device=field.device)
        # Whole turns are taken off first: cos and sin of large angles lose digits.
        turn = (periods * cell % side) * (2 * math.pi / side)
        phase = phase[..., None] + turn
    cosine, sine = phase.cos(), phase.sin()
    values = field.double()
    # k = -k has no partner to share its power with, and sin(phase) = 0 there.
    unpaired = all(2 * p % n == 0 for p, n in zip(periodicity.wavevector, field.shape, strict=True))
    share = (1 if unpaired else 2) / field.numel()
    wave = share * ((values * cosine).sum() * cosine + (values * sine).sum() * sine)
    return (values + (gain - 1) * wave).to(field.dtype)
