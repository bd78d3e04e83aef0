"""A stage of the voxels task learns a step of two equations that another solver has computed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import fields
from tests.training.conftest import Make, scores, start

STAGE: dict[str, Any] = {
    "task": "voxels",
    "clustering_enabled": False,
    "batch_size": 8,
    "dataset_limit": 256,
    "plasticity": {"enable_plasticity": False, "enable_clustering": False},
    "training": {"learning_rate": 0.02, "warmup_steps": 5},
    "monitor": {"evaluate": 8},
}
PLAN = {"micro_batch": 8, "samples_per_epoch": 256}


def lattice(*dimensions: int, **more: Any) -> dict[str, Any]:
    rule = {"rule": "growing", "backend": "auto", "channels": 8, "hidden": 12, "ticks": 2}
    fixed = {"connection_density": 1.0, "strength_start": [1.0, 1.0]}
    return {"dimensions": list(dimensions), **rule, **fixed, **more}


def heat_file(path: Path, dimensions: tuple[int, int, int]) -> Path:
    begin = fields.smooth(np.random.default_rng(0), 264, dimensions)
    run = fields.heat(begin, 0.4, 5)
    x = begin[..., None]
    np.savez(path, x=x[:256], y=run[:256, 0], x_held_out=x[256:], y_held_out=run[256:])
    return path


def test_a_step_of_heat_and_five_in_a_row(make: Make, tmp_path: Path) -> None:
    data = {"path": str(heat_file(tmp_path / "heat.npz", (6, 6, 6))), "residual": True}
    resolved = make(PLAN, epochs=8, lattice=lattice(6, 6, 6), voxels=data, **STAGE)
    row = start(resolved, tmp_path / "run")[0].run()
    found = scores(row)
    assert found["error"] < 0.3 * found["unchanged"]
    assert found["error_5"] < 0.3 * found["unchanged_5"]
    assert row.primary == "fit"
    assert found["fit"] == pytest.approx(1 - found["error"], abs=1e-5)


def test_a_step_of_gray_scott(make: Make, tmp_path: Path) -> None:
    begin = fields.spots(np.random.default_rng(1), 284, (7, 7, 7))
    begin = fields.gray_scott(begin, 3)[:, -1]
    np.savez(tmp_path / "gs.npz", x=begin, y=fields.gray_scott(begin, 1)[:, 0])
    data = {"path": str(tmp_path / "gs.npz"), "residual": True}
    resolved = make(PLAN, epochs=8, lattice=lattice(7, 7, 7), voxels=data, **STAGE)
    found = scores(start(resolved, tmp_path / "run")[0].run())
    assert found["error"] < 0.5 * found["unchanged"]


@pytest.mark.parametrize("dimensions", [(9, 1, 1), (1, 6, 6)])
@pytest.mark.parametrize("backend", ["plain", "auto"])
def test_lines_and_planes_are_lattices_too(
    make: Make, tmp_path: Path, dimensions: tuple[int, int, int], backend: str
) -> None:
    """Classes, a mask and plasticity on data of one and of two dimensions."""
    numbers = np.random.default_rng(2).random((284, *dimensions, 1))
    mask = np.ones(dimensions)
    mask.flat[0] = 0
    classes = (numbers > 0.5).astype(int)
    classes[:, 0, 0, 0] = 1  # what is masked may be wrong
    np.savez(tmp_path / "flat.npz", x=numbers, y=classes, mask=mask)
    stage = STAGE | {
        "voxels": {"path": str(tmp_path / "flat.npz"), "loss": "ce"},
        "plasticity": {"enable_clustering": False},
    }
    resolved = make(PLAN, epochs=2, lattice=lattice(*dimensions, backend=backend), **stage)
    row = start(resolved, tmp_path / "run")[0].run()
    assert scores(row)["accuracy"] > 0.8
    assert (row.mean_abs_change or 0) > 0


def test_bits_of_a_voxel_are_learned_each_on_its_own(make: Make, tmp_path: Path) -> None:
    numbers = np.random.default_rng(3).random((284, 4, 4, 4, 2))
    np.savez(tmp_path / "bits.npz", x=numbers, y=numbers > 0.4)
    stage = STAGE | {"voxels": {"path": str(tmp_path / "bits.npz"), "loss": "bce"}}
    resolved = make(PLAN, epochs=2, lattice=lattice(4, 4, 4), **stage)
    trainer, recorder = start(resolved, tmp_path / "run")
    row = trainer.run()
    assert scores(row)["accuracy"] > 0.85 > recorder.of("evaluation")[0]["metrics"]["whole"]
