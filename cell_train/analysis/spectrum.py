"""The power spectrum of a lattice field shell by shell, with what white noise would show there.

A shell holds the Fourier modes of nearly the same |k|. Under white noise of the field's variance
(which is what shuffling its cells gives) every mode of the full grid adds one chi² degree of
freedom: k and -k of a pair carry the same power twice, a mode that is its own partner carries a
squared normal. A shell's mean over its n modes is therefore chi²(n) / n.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

SHELLS = 24  # at most; fewer where the lattice has no more wavelengths to tell apart
FEW = 8  # modes: with fewer the corner of Fourier space joins the shell before it
LEVEL = 0.05  # of the band over all shells together


@dataclass(frozen=True)
class Shells:
    """S shells, from long waves to short ones."""

    wavelength: Tensor  # [S] cells, of the shell's mean |k|
    modes: Tensor  # [S] int64, of the full grid
    power: Tensor  # [S] mean power, as a multiple of white noise's
    null_low: Tensor  # [S] white noise stays between these two in every shell at once
    null_high: Tensor  # [S] with probability 1 - LEVEL
    tail: Tensor  # [S] P(white noise shows as much power in this shell), each for itself


def shells(field: Tensor) -> Shells | None:
    """The spectrum of `field [X, Y, Z]` by shells; None where it is constant or not finite."""
    values = field.double().cpu()
    centred = values - values.mean()
    total = centred.square().sum()
    if not bool(torch.isfinite(total)) or float(total) <= 1e-12 * float(values.square().sum()):
        return None
    power = (torch.fft.fftn(centred).abs().square() / total).flatten()[1:]
    axes = [torch.fft.fftfreq(side, dtype=torch.float64) for side in field.shape]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    frequency = grid.square().sum(-1).sqrt().flatten()[1:]
    width = max(1 / max(field.shape), float(frequency.max()) / SHELLS)
    _, shell = torch.unique((frequency / width).round(), return_inverse=True)
    last = int(shell.max())
    if last > 0 and int((shell == last).sum()) < FEW:
        shell = shell.clamp(max=last - 1)
    modes = torch.bincount(shell)
    mean = torch.zeros(len(modes), dtype=torch.float64).index_add_(0, shell, power) / modes
    centre = torch.zeros_like(mean).index_add_(0, shell, frequency) / modes
    tail = LEVEL / 2 / len(modes)
    return Shells(
        wavelength=1 / centre,
        modes=modes,
        power=mean,
        null_low=_quantile(modes, tail),
        null_high=_quantile(modes, 1 - tail),
        tail=torch.special.gammaincc(modes / 2, modes * mean / 2),
    )


def _quantile(modes: Tensor, probability: float) -> Tensor:
    """`[S]` x with P(chi²(n) / n <= x) = probability, by bisection."""
    n = modes.double()
    low, high = torch.zeros_like(n), torch.full_like(n, 64.0)
    for _ in range(60):
        middle = (low + high) / 2
        below = torch.special.gammainc(n / 2, n * middle / 2) < probability
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2
