"""Spectra by shells: against numpy's transform, scipy's distributions and counted noise."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from cell_train.analysis import spectrum as module
from cell_train.analysis.spectrum import shells


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_shells_share_out_the_whole_power() -> None:
    """Parseval: over all modes but k = 0 white noise's multiple is N / (N - 1) on average."""
    found = shells(noise(7, 6, 9))
    assert found is not None
    count = 7 * 6 * 9
    assert int(found.modes.sum()) == count - 1
    assert float((found.power * found.modes).sum()) == pytest.approx(count)


def test_a_shell_is_the_mean_of_numpys_powers() -> None:
    field = noise(6, 6, 6, seed=3)
    found = shells(field)
    assert found is not None
    values = field.double().numpy()
    power = np.abs(np.fft.fftn(values - values.mean())) ** 2 / (values.size * values.var())
    k = np.linalg.norm(np.meshgrid(*(np.fft.fftfreq(6),) * 3, indexing="ij"), axis=0)
    longest = (k > 0) & (np.round(k * 6) == 1)  # shells are 1/6 wide, the first around 1/6
    assert float(found.power[0]) == pytest.approx(power[longest].mean())
    assert float(found.wavelength[0]) == pytest.approx(1 / k[longest].mean())
    assert int(found.modes[0]) == longest.sum()


def test_the_band_and_the_tail_are_chi_squared() -> None:
    found = shells(noise(10, 10, 7, seed=1))
    assert found is not None
    modes, tail = found.modes.numpy(), module.LEVEL / 2 / len(found.modes)
    np.testing.assert_allclose(found.null_low, stats.chi2.ppf(tail, modes) / modes, rtol=1e-6)
    np.testing.assert_allclose(found.null_high, stats.chi2.isf(tail, modes) / modes, rtol=1e-6)
    by_scipy = stats.chi2.sf(found.power.numpy() * modes, modes)
    np.testing.assert_allclose(found.tail, by_scipy, rtol=1e-6)


def test_white_noise_stays_in_its_band() -> None:
    """95 % of noise fields lie inside it in every shell: 200 of them, three standard errors."""
    outside = 0
    for seed in range(200):
        found = shells(noise(8, 8, 6, seed=seed))
        assert found is not None
        inside = (found.null_low <= found.power) & (found.power <= found.null_high)
        outside += int(not bool(inside.all()))
    share, error = outside / 200, math.sqrt(0.05 * 0.95 / 200)
    assert share < 0.05 + 3 * error
    assert share > 0.005


def test_a_wave_leaves_the_band_at_its_wavelength() -> None:
    z = torch.arange(12.0)
    field = noise(12, 12, 12) + torch.cos(2 * math.pi * z / 4)
    found = shells(field)
    assert found is not None
    above = (found.power > found.null_high).nonzero().flatten()
    assert [round(float(found.wavelength[i])) for i in above] == [4]


def test_a_constant_or_broken_field_has_no_spectrum() -> None:
    assert shells(torch.full((4, 4, 4), 0.9)) is None
    assert shells(torch.full((4, 4, 4), math.nan)) is None


def test_large_lattices_have_no_more_shells_than_a_figure_shows() -> None:
    found = shells(noise(48, 48, 36))
    assert found is not None
    assert len(found.power) <= module.SHELLS + 1
