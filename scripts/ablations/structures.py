"""How often the detector of periodic structure is right, on fields whose answer is known.

Waves of any whole wavevector and phase on white noise (amplitudes in its standard deviations), red
noise of power 1/|k|^beta, which is aperiodic and yet has peaks, and the time that a field takes.
"""

import math
import statistics
import time

import torch
from torch import Tensor

from cell_train.analysis.morphology import periodic_structure
from cell_train.model.lattice import Dimensions
from scripts.benchmarks.common import Result

CUBE, LARGE = (16, 16, 16), (48, 48, 36)
FIELDS = {CUBE: 400, LARGE: 100}  # a repetition
FAINT = {CUBE: 0.15, LARGE: 0.036}  # amplitudes
BETAS = (0.5, 1.0, 1.5, 2.0, 2.5)


def structures(seeds: int) -> list[Result]:
    """Shares over the fields of all `seeds` repetitions, tested at 1 %."""
    generator = torch.Generator().manual_seed(0)
    results = []
    for shape, fields in FIELDS.items():
        name, count, amplitude = "x".join(map(str, shape)), fields * seeds, FAINT[shape]
        planted = found(generator, count, shape, amplitude=amplitude)
        false = found(generator, count, shape)
        results += [
            Result(f"found_{name}", planted, 0.95, "higher", {"amplitude": amplitude}),
            Result(f"false_white_{name}", false, 0.01, "lower", {"fields": count}),
        ]
    count = FIELDS[CUBE] * seeds
    red = {f"beta {beta:g}": found(generator, count, CUBE, beta=beta) for beta in BETAS}
    field = noise(LARGE, 0.0, generator)
    times = [_milliseconds(field) for _ in range(20)]
    return [
        *results,
        Result("false_red", max(red.values()), 0.02, "lower", red),
        Result("milliseconds", statistics.median(times), 5.0, "lower", {"best": min(times)}),
    ]


def found(
    generator: torch.Generator,
    count: int,
    shape: Dimensions,
    beta: float = 0.0,
    amplitude: float = 0.0,
) -> float:
    """The share of `count` fields, noise and perhaps a wave, that are called periodic."""
    fields = (
        noise(shape, beta, generator) + amplitude * wave(shape, generator) for _ in range(count)
    )
    return sum(periodic_structure(field).significant for field in fields) / count


def noise(shape: Dimensions, beta: float, generator: torch.Generator) -> Tensor:
    """A Gaussian field of unit variance with power ~ 1/|k|^beta; white for 0."""
    axes = [torch.fft.fftfreq(side) for side in shape]
    squared = torch.stack(torch.meshgrid(*axes, indexing="ij")).square().sum(0)
    squared[0, 0, 0] = 1.0
    white = torch.fft.fftn(torch.randn(shape, generator=generator))
    field: Tensor = torch.fft.ifftn(white * squared.pow(-beta / 4)).real
    return field / field.std()


def wave(shape: Dimensions, generator: torch.Generator) -> Tensor:
    """A wave of amplitude 1, its periods along each axis and its phase drawn at random."""
    *draw, phase = torch.rand(4, generator=generator).tolist()
    periods = [round((u - 0.5) * (side - 1)) for u, side in zip(draw, shape, strict=True)]
    if sum(map(abs, periods)) <= 1:  # a profile along the box, which is no wave
        return wave(shape, generator)
    turns = [
        torch.arange(side) * (2 * math.pi * p / side)
        for p, side in zip(periods, shape, strict=True)
    ]
    x, y, z = torch.meshgrid(*turns, indexing="ij")
    return torch.cos(x + y + z + 2 * math.pi * phase)


def _milliseconds(field: Tensor) -> float:
    began = time.perf_counter()
    periodic_structure(field)
    return 1000 * (time.perf_counter() - began)
