"""The file of a voxels task: what is wrong with it is said in a sentence."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cell_train.errors import DataError
from cell_train.tasks.voxels import data
from tests.support import fields

X = np.zeros((10, 3, 3, 3, 2))
Y = np.ones((10, 3, 3, 3, 1))


@pytest.mark.parametrize(
    ("arrays", "loss", "said"),
    [
        ({"x": X}, "mse", "no array 'y'"),
        ({"x": X[0], "y": Y}, "mse", r"x is \[3, 3, 3, 2\], not .*axes of 1"),
        ({"x": X, "y": Y[:, :2]}, "mse", r"must agree in \[N, X, Y, Z\]"),
        ({"x": X, "y": Y, "mask": np.ones((3, 3))}, "mse", r"mask is \[3, 3\], not"),
        ({"x": X, "y": Y, "mask": np.zeros((3, 3, 3))}, "mse", "mask leaves no voxel"),
        ({"x": X * np.nan, "y": Y}, "mse", "x must hold finite numbers"),
        ({"x": X.astype(str), "y": Y}, "mse", "x must hold finite numbers, not <U"),
        ({"x": X, "y": Y / 2}, "bce", "y must be 0 or 1"),
        ({"x": X, "y": -Y}, "ce", "whole numbers from 0"),
        ({"x": X[:1], "y": Y[:1]}, "mse", "has 1 samples; it needs 2"),
        ({"x": X, "y": Y, "x_held_out": X}, "mse", "go together"),
        ({"x": X, "y": Y, "x_held_out": X, "y_held_out": Y[:4]}, "mse", "must be samples as"),
        (
            {"x": X, "y": Y, "x_held_out": X, "y_held_out": Y[:, None].repeat(3, 1)},
            "mse",
            "3 steps, but an answer of 1 channels cannot be put in again where x has 2",
        ),
    ],
)
def test_a_file_that_cannot_be_trained_on(
    tmp_path: Path, arrays: dict[str, Any], loss: str, said: str
) -> None:
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(DataError, match=said) as found:
        data.load(tmp_path / "data.npz", loss)
    assert str(tmp_path / "data.npz") in str(found.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"x,y\n"])
def test_a_file_that_is_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "data.npz").write_bytes(content)
    with pytest.raises(DataError, match="cannot be read"):
        data.load(tmp_path / "data.npz", "mse")


def test_the_last_tenth_is_held_out_where_nothing_else_is(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=X + np.arange(10).reshape(10, 1, 1, 1, 1), y=Y)
    found = data.load(tmp_path / "data.npz", "mse")
    assert len(found.x) == 9
    assert found.x_held_out.shape == (1, 3, 3, 3, 2)
    assert found.x_held_out.max() == 9
    assert found.y_held_out.shape == (1, 1, 3, 3, 3, 1)


def test_the_solvers_keep_what_their_equations_keep() -> None:
    random = np.random.default_rng(0)
    begin = fields.smooth(random, 2, (5, 4, 3))
    later = fields.heat(begin, 0.3, 4)
    assert later[:, -1].mean() == pytest.approx(begin.mean())  # nothing flows out
    assert later[:, -1].std() < later[:, 0].std() < begin.std()
    spots = fields.spots(random, 1, (6, 6, 6))
    coarse, finer = (fields.gray_scott(spots, 2, inner=inner) for inner in (8, 16))
    assert 0 < np.abs(coarse - finer).max() < 0.01  # a smaller step changes little
    still = np.zeros((1, 4, 4, 4, 2))
    still[..., 0] = 1
    assert np.allclose(fields.gray_scott(still, 2), still[:, None])  # u = 1, v = 0 stays
