"""The memory model's terms against counts made another way."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cell_train.config.schema import Stage
from cell_train.planning import memory


@pytest.mark.parametrize("periodic", [False, True])
@given(dimensions=st.lists(st.integers(3, 6), min_size=3, max_size=3))
def test_neighbour_pairs_are_those_one_can_count(periodic: bool, dimensions: list[int]) -> None:
    cells = set(itertools.product(*(range(d) for d in dimensions)))
    counted = 0
    for cell in cells:
        for offset in itertools.product((-1, 0, 1), repeat=3):
            x, y, z = (c + o for c, o in zip(cell, offset, strict=True))
            if periodic:
                x, y = x % dimensions[0], y % dimensions[1]
            counted += offset != (0, 0, 0) and (x, y, z) in cells
    assert memory.neighbour_pairs(dimensions, periodic) == counted


@given(
    micro_batch=st.integers(1, 32), segment=st.integers(1, 4), precision=st.sampled_from(["fp32"])
)
def test_less_of_everything_never_takes_more(
    resolve_once: Stage, micro_batch: int, segment: int, precision: str
) -> None:
    def total(size: int, length: int, kind: str) -> int:
        return memory.footprint(
            resolve_once, micro_batch=size, segment=length, precision=kind, kind="cuda"
        ).total

    here = total(micro_batch, segment, precision)
    assert total(micro_batch + 1, segment, precision) > here
    assert total(micro_batch, segment + 1, precision) < here  # up to the root of T = 42
    assert total(micro_batch, segment, "bf16") < here


@pytest.fixture(scope="module")
def resolve_once() -> Stage:
    from cell_train.config import profiles, resolve, stage_file

    tables = profiles.load()
    files = stage_file.load_folder(stage_file.built_in_folder(), tables.plasticity)
    profile = profiles.choose(tables, "fit", None)
    return resolve.resolve(files[6], tables, profile, []).stage
