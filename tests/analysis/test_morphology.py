"""Waves are found where they were planted, and neither noise nor a profile is called periodic."""

import math
from collections.abc import Callable
from itertools import permutations

import pytest
import torch
from torch import Tensor

from cell_train.analysis.morphology import (
    Periodicity,
    amplify,
    periodic_structure,
    power_spectrum,
    spectrum_summary,
)

CUBE = (16, 16, 16)
LARGE = (48, 48, 36)
ODD = (9, 14, 11)
Shape = tuple[int, int, int]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def white(shape: Shape, generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator)


def red(shape: Shape, beta: float, generator: torch.Generator) -> Tensor:
    """Gaussian field with power ~ 1/|k|^beta, |k| in periods per cell."""
    axes = [torch.fft.fftfreq(n) for n in shape]
    squared = torch.stack(torch.meshgrid(*axes, indexing="ij")).square().sum(0)
    squared[0, 0, 0] = 1.0
    amplitude = squared.pow(-beta / 4)
    field: Tensor = torch.fft.ifftn(torch.fft.fftn(white(shape, generator)) * amplitude).real
    return field / field.std()


def wave(shape: Shape, periods: tuple[float, float, float], phase: float = 0.3) -> Tensor:
    axes = [torch.arange(n) * (2 * math.pi * p / n) for n, p in zip(shape, periods, strict=True)]
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    return torch.cos(x + y + z + phase)


def any_wave(shape: Shape, generator: torch.Generator) -> Tensor:
    """A unit wave of any whole number of periods below Nyquist's and any phase."""
    while True:
        draw = torch.rand(4, generator=generator).tolist()
        x, y, z = (round((u - 0.5) * (n - 1)) for u, n in zip(draw, shape, strict=False))
        if abs(x) + abs(y) + abs(z) > 1:
            return wave(shape, (x, y, z), 2 * math.pi * draw[3])


def detection_rate(make: Callable[[torch.Generator], Tensor], count: int, seed: int = 0) -> float:
    """Share of `count` fields that are called periodic at 1 %."""
    generator = seeded(seed)
    return sum(periodic_structure(make(generator)).significant for _ in range(count)) / count


def coefficient(field: Tensor, found: Periodicity) -> complex:
    assert found.wavevector is not None
    return complex(torch.fft.fftn(field.double())[found.wavevector])


# --- how often it is right -----------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "count"), [(CUBE, 1000), (ODD, 1000), (LARGE, 100)])
def test_white_noise_is_rarely_periodic(shape: Shape, count: int) -> None:
    assert detection_rate(lambda g: white(shape, g), count) <= 0.02


@pytest.mark.parametrize("beta", [0.5, 1.0, 1.5, 2.0, 2.5, 5.0])
def test_red_noise_is_rarely_periodic(beta: float) -> None:
    assert detection_rate(lambda g: red(CUBE, beta, g), 400) <= 0.02


def test_red_noise_beats_the_permutation_null_and_falls_at_its_shell() -> None:
    fields = [red(CUBE, 2.0, seeded(s)) for s in range(20)]
    decided = "no peak that beats the permutation null also beats its shell and its lines"
    assert {periodic_structure(f).reason for f in fields} == {decided}


@pytest.mark.parametrize(("shape", "amplitude", "count"), [(CUBE, 0.15, 1000), (LARGE, 0.036, 200)])
def test_faint_waves_are_found(shape: Shape, amplitude: float, count: int) -> None:
    rate = detection_rate(lambda g: white(shape, g) + amplitude * any_wave(shape, g), count)
    assert rate >= 0.95


def test_faint_waves_on_red_noise_are_found() -> None:
    assert detection_rate(lambda g: red(CUBE, 1.0, g) + 0.3 * wave(CUBE, (3, -2, 4)), 100) >= 0.95


def test_many_waves_of_one_length_do_not_hide_one_another() -> None:
    star = [
        (x, s * y, t * z) for x, y, z in permutations((3, 2, 1)) for s in (1, -1) for t in (1, -1)
    ]
    pattern = torch.stack([wave(CUBE, k) for k in star]).sum(0)
    assert detection_rate(lambda g: white(CUBE, g) + 0.3 * pattern, 50) == 1.0


def test_a_wave_lost_in_the_variance_of_others_is_not_claimed() -> None:
    """It beats its shell, where smooth noise has no power, but not the permutation null."""
    field = red(CUBE, 5.0, seeded()) + 0.05 * wave(CUBE, (6, 5, 4))
    found = periodic_structure(field)
    assert not found.significant
    assert (
        found.reason == "no peak that beats the permutation null also beats its shell and its lines"
    )
    assert periodic_structure(field + wave(CUBE, (6, 5, 4))).wavevector == (6, 5, 4)


def test_a_wave_between_two_modes_is_found() -> None:
    broken = wave(CUBE, (3.5, 0.0, 0.0))
    assert detection_rate(lambda g: white(CUBE, g) + 0.5 * broken, 50) == 1.0


@pytest.mark.parametrize(
    "profile",
    [
        torch.linspace(0, 3, 16),
        3 * torch.exp(-torch.arange(16) / 3),
        torch.tensor([2.0] + [0.0] * 15),
        torch.tensor([2.0] + [0.0] * 14 + [2.0]),
        torch.tensor([2.0] * 6 + [0.0] * 10),
    ],
    ids=["gradient", "decay", "face", "faces", "step"],
)
@pytest.mark.parametrize("axis", [0, 2])
def test_a_profile_along_an_axis_is_not_a_wave(profile: Tensor, axis: int) -> None:
    along = profile.view([16 if a == axis else 1 for a in range(3)])
    assert detection_rate(lambda g: white(CUBE, g) + along, 100) <= 0.03


# --- what it reports -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "periods"),
    [
        (CUBE, (3, 0, 2)),
        (CUBE, (-5, 4, 1)),
        (CUBE, (8, 8, 8)),  # checkerboard: its coefficient is real
        (CUBE, (0, 0, 8)),
        (LARGE, (0, 7, 0)),
        (ODD, (2, -3, 4)),
        (ODD, (4, 7, 5)),
        ((6, 6, 6), (2, 0, 1)),
    ],
)
def test_the_planted_wavevector_is_named(shape: Shape, periods: Shape) -> None:
    found = periodic_structure(white(shape, seeded()) + 2 * wave(shape, periods))
    assert found.significant
    assert found.wavevector is not None
    assert found.p_value is not None
    assert found.p_value < 0.01
    here = [k % n for k, n in zip(found.wavevector, shape, strict=True)]
    assert here in (
        [k % n for k, n in zip(periods, shape, strict=True)],
        [-k % n for k, n in zip(periods, shape, strict=True)],
    )
    assert found.peak_ratio is not None
    assert found.peak_ratio > 10


def test_a_pure_wave_holds_all_the_power() -> None:
    found = periodic_structure(wave(CUBE, (3, 2, 1)))
    assert found.significant
    assert found.power == pytest.approx(16**3 / 2, rel=1e-4)  # the other half is at -k


@pytest.mark.parametrize("shape", [(4, 4, 4), (16, 16, 5), (2, 1, 1), (1, 1, 1)])
def test_lattices_too_small_to_test_say_so(shape: Shape) -> None:
    found = periodic_structure(white(shape, seeded()))
    assert not found.tested
    assert not found.significant
    assert (
        found.reason == f"{'x'.join(map(str, shape))} is too small: a side has fewer than 6 cells"
    )
    assert found.p_value is None


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, -3e20])
def test_a_constant_field_is_not_tested(value: float) -> None:
    field = torch.full(CUBE, value)
    assert periodic_structure(field).reason == "the field is constant"
    assert not power_spectrum(field).any()
    assert set(spectrum_summary(field).values()) == {None}


def test_a_field_that_is_not_finite_is_not_tested() -> None:
    field = white(CUBE, seeded())
    field[3, 3, 3] = math.nan
    assert periodic_structure(field).reason == "the field is not finite"
    assert set(spectrum_summary(field).values()) == {None}


def test_shift_scale_and_repetition_change_nothing() -> None:
    field = white(CUBE, seeded()).double() + 0.3 * wave(CUBE, (3, 2, 1))
    found, again = periodic_structure(field), periodic_structure(0.01 * field + 1)
    assert found == periodic_structure(field)
    assert (found.wavevector, found.significant) == (again.wavevector, again.significant)
    assert found.p_value == pytest.approx(again.p_value, rel=1e-6)


def test_the_closed_form_agrees_with_shuffling() -> None:
    # The highest of white noise's own powers: p is uniform, so the two can differ visibly.
    for seed in range(3):
        field = white((8, 8, 8), seeded(seed))
        highest = float(power_spectrum(field).max())
        order = [torch.randperm(512, generator=seeded(100 + s)) for s in range(400)]
        peaks = [float(power_spectrum(field.flatten()[o].view(8, 8, 8)).max()) for o in order]
        closed = -math.expm1(252 * math.log1p(-math.exp(-highest)))  # (512 - 8) / 2 complex modes
        shuffled = sum(p >= highest for p in peaks) / 400
        assert closed == pytest.approx(shuffled, abs=0.1)


def test_shuffling_bounds_the_p_value() -> None:
    field = white(CUBE, seeded()) + wave(CUBE, (3, 2, 1))
    found = periodic_structure(field, permutations=199, generator=seeded())
    assert found.p_value == 1 / 200
    assert found.significant
    assert found == periodic_structure(field, permutations=199, generator=seeded())
    assert not periodic_structure(field, permutations=9, generator=seeded()).significant


# --- spectra -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [CUBE, ODD])
def test_white_noise_has_power_one(shape: Shape) -> None:
    spectra = torch.stack([power_spectrum(white(shape, seeded(s))) for s in range(50)])
    assert float(spectra.mean()) == pytest.approx(1.0, abs=0.02)
    assert float(spectra[:, 0, 0, 0].max()) < 1e-20


@pytest.mark.parametrize("beta", [0.0, 1.0, 2.5])
def test_the_summary_names_the_slope(beta: float) -> None:
    slopes = [spectrum_summary(red(CUBE, beta, seeded(s)))["slope"] for s in range(10)]
    assert sum(s for s in slopes if s is not None) / 10 == pytest.approx(beta, abs=0.1)


def test_the_summary_of_a_wave_and_of_noise() -> None:
    summary = spectrum_summary(wave((16, 12, 10), (4, 0, 0)))
    assert summary["dominant_wavelength"] == pytest.approx(4.0)
    assert summary["entropy"] == pytest.approx(0.0, abs=1e-5)
    modes = (16**3 - 8) / 2
    expected = 1 - 0.4228 / math.log(modes)  # 1 - digamma(2) / ln M for exponential powers
    assert spectrum_summary(white(CUBE, seeded()))["entropy"] == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 1), (4, 4, 4), (5, 1, 3)])
def test_the_summary_of_the_smallest_lattices(shape: Shape) -> None:
    assert all(v is None or math.isfinite(v) for v in spectrum_summary(torch.rand(shape)).values())


# --- amplification -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "periods"),
    [(CUBE, (3, 0, 2)), (CUBE, (0, 0, 8)), (CUBE, (8, 3, 8)), (ODD, (-2, 3, 4)), (ODD, (2, 7, 0))],
)
def test_amplify_multiplies_one_coefficient_and_no_other(shape: Shape, periods: Shape) -> None:
    field = 1 + 0.1 * white(shape, seeded()).double() + 0.2 * wave(shape, periods)
    found = periodic_structure(field)
    after = amplify(field, found, 1.2)
    assert coefficient(after, found) == pytest.approx(1.2 * coefficient(field, found), rel=1e-9)
    assert float(after.mean()) == pytest.approx(float(field.mean()), rel=1e-12)
    changed = (torch.fft.rfftn(after) - torch.fft.rfftn(field)).abs() > 1e-9
    assert found.wavevector is not None
    both = {tuple(s * k % n for k, n in zip(found.wavevector, shape, strict=True)) for s in (1, -1)}
    assert {tuple(k) for k in changed.nonzero().tolist()} <= both


def test_amplify_keeps_the_type_and_leaves_noise_alone() -> None:
    field = white(CUBE, seeded())
    assert amplify(field, periodic_structure(field), 1.2) is field
    striped = field + wave(CUBE, (3, 0, 2))
    assert amplify(striped, periodic_structure(striped), 1.2).dtype == torch.float32
