"""The grow task: its shapes and cuts, its pool, and that a small shape is grown and comes back."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cell_train.errors import DataError
from cell_train.tasks.base import TaskContext
from cell_train.tasks.grow import cuts, shapes, target
from cell_train.tasks.grow.task import GrowTask

SIZE = (8, 8, 8)
GROW = {
    "target": "mushroom",
    "pool": 8,
    "damage": 1,
    "alive": 0.1,
    "regrow_ticks": 12,
    "persist_ticks": 30,
}


def task(**grow: Any) -> GrowTask:
    stage = {"grow": GROW | grow, "dataset_limit": 40, "seed": 3}
    return GrowTask(TaskContext(stage, SIZE, 8, None))


@pytest.mark.parametrize("name", shapes.SHAPES)
@pytest.mark.parametrize("dimensions", [(8, 8, 8), (16, 16, 16), (20, 1, 20)])
def test_shapes_fill_a_part_of_any_grid_and_colours_end_where_they_do(
    name: str, dimensions: tuple[int, int, int]
) -> None:
    voxels = target.load(name, dimensions)
    there = voxels[..., 3] == 1
    assert 0.05 < there.mean() < 0.6
    assert not voxels[~there].any()
    assert there[target.middle(voxels)]


def test_voxels_come_from_a_file_and_opacity_is_there_where_a_voxel_is_not_black(
    tmp_path: Path,
) -> None:
    colours = np.zeros((*SIZE, 3), np.uint8)
    colours[2:6, 2:6, 2:6] = (255, 0, 51)
    np.save(tmp_path / "cube.npy", colours)
    voxels = target.load(str(tmp_path / "cube.npy"), SIZE)
    assert voxels[3, 3, 3].tolist() == pytest.approx([1, 0, 0.2, 1])
    assert voxels[..., 3].sum() == 64
    with pytest.raises(DataError, match=r"\[8, 8, 8\] voxels.*set lattice.dimensions=\[8,8,8\]"):
        target.load(str(tmp_path / "cube.npy"), (8, 8, 9))
    np.save(tmp_path / "flat.npy", colours[0])
    with pytest.raises(DataError, match="a shape is"):
        target.load(str(tmp_path / "flat.npy"), SIZE)
    (tmp_path / "text.npy").write_text("no numbers")
    with pytest.raises(DataError, match="cannot be read"):
        target.load(str(tmp_path / "text.npy"), SIZE)


def test_no_cell_far_from_an_opaque_one_lives() -> None:
    one = task()
    cells = torch.ones(*SIZE, 1, 8)
    cells[..., 3] = 0
    cells[4, 4, 4, 0, 3] = 0.2
    alive = one.write(cells, cells).any(-1)[..., 0]
    wanted = torch.zeros(SIZE, dtype=torch.bool)
    wanted[3:6, 3:6, 3:6] = True
    assert torch.equal(alive, wanted)
    assert torch.equal(task(alive=0.0).write(cells, cells), cells)


def test_the_worst_of_the_pool_begins_anew_and_the_best_is_cut() -> None:
    one = task()
    perfect = torch.zeros_like(one.seed)
    perfect[..., :4] = one.target
    one.pool[:] = perfect
    one.pool[5] = 1.0  # everything is there: the worst
    (batch,) = one.batches("train", list(range(8)), 8)
    at = batch.slots.tolist().index(5)
    assert torch.equal(batch.source[at], one.seed)
    left = [float(one.overlap(cells[:, :, :, None])) for cells in batch.source]
    assert sum(part == 1 for part in left) == 6
    assert sum(0 < part < 1 for part in left) >= 1
    again = next(one.batches("train", list(range(8)), 8))
    assert torch.equal(batch.source, again.source)


def test_what_has_grown_is_kept_where_it_came_from_unless_it_is_not_finite() -> None:
    one = task()
    slots = torch.tensor([6, 2])
    batch = one.begin(one.pool[slots], slots)
    cells = torch.full((*SIZE, 2, 8), 0.5)
    cells[0, 0, 0, 1, 0] = torch.nan
    one.keep(batch, cells)
    assert (one.pool[6] == 0.5).all()
    assert torch.equal(one.pool[2], one.seed)
    assert torch.equal(one.pool[0], one.seed)


def test_no_evaluated_cut_is_like_one_of_training() -> None:
    random = torch.Generator().manual_seed(0)
    drawn = [cuts.at_random(SIZE, random) for _ in range(200)]
    for cut in cuts.UNSEEN.values():
        assert 0.05 < cut(SIZE).float().mean() < 0.9
        assert not any(torch.equal(cut(SIZE), other) for other in drawn)
    assert cuts.half(SIZE).float().mean() == 0.5
