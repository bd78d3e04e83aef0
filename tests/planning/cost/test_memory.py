"""The memory model's terms against counts made another way."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cell_train import limits
from cell_train.config.schema import Stage
from cell_train.data import builtin, statistics
from cell_train.planning.cost import memory, memory_phases, sizes
from cell_train.tasks.text import plan as text_plan


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
    assert sizes.neighbour_pairs(dimensions, periodic) == counted


@given(
    micro_batch=st.sampled_from([1, 2, 4, 8, 16, 32]),
    segment=st.integers(1, 5),
    density=st.floats(0.05, 0.9),
    kind=st.sampled_from(["cpu", "cuda"]),
)
def test_less_of_everything_never_takes_more(
    resolve_once: Stage, micro_batch: int, segment: int, density: float, kind: str
) -> None:
    def total(segment: int, precision: str, density: float) -> int:
        lattice = replace(resolve_once.lattice, connection_density=density)
        return memory.footprint(
            replace(resolve_once, lattice=lattice),
            micro_batch=micro_batch,
            segment=segment,
            precision=precision,
            kind=kind,
        ).total

    here = total(segment, "fp32", density)
    assert total(segment + 1, "fp32", density) <= here  # up to the root of T = 38
    assert total(segment, "bf16", density) <= here
    assert total(segment, "fp32", density + 0.1) > here


def test_what_is_known_of_the_built_in_texts_is_so() -> None:
    for path, known in statistics.BUILT_IN.items():
        assert statistics.counted(path) == known


def test_a_small_text_is_counted_and_a_long_one_is_not(tmp_path: Path, resolve_once: Stage) -> None:
    path = tmp_path / "text.txt"
    path.write_text("\n".join(builtin.sentences(150, seed=0)))
    data = replace(resolve_once.data, path=str(path))
    known = statistics.facts(data)
    assert known.training + known.held_out == 150
    assert 3 < known.longest < 20
    path.write_text("word " * statistics.READ)
    assert statistics.facts(data) == statistics.UNKNOWN
    assert statistics.facts(replace(data, path="nowhere.txt")) == statistics.UNKNOWN


LIMITS = [name for name in vars(limits) if name.isupper()]


@pytest.mark.parametrize("name", LIMITS)
def test_the_prediction_moves_with_every_limit_that_training_goes_by(
    resolve_once: Stage, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = 100_000
    known = statistics.Facts(training=many, held_out=many, words=300, longest=9)
    monkeypatch.setattr(text_plan, "facts", lambda _: known)
    data = replace(resolve_once.data, held_out=many)
    rules = resolve_once.plasticity
    stage = replace(  # the rest small, so that no limit hides behind it
        resolve_once,
        dataset_limit=many,
        data=data,
        lattice=replace(resolve_once.lattice, ticks=2),
        plasticity=replace(rules, stdp=replace(rules.stdp, samples=1)),
    )
    large = replace(stage, lattice=replace(stage.lattice, dimensions=[64, 48, 48]))

    def phases() -> list[dict[str, memory_phases.Phase]]:
        ways = ((stage, "cpu"), (large, "cuda"))
        return [
            memory_phases.peaks(
                sizes.of(one, micro_batch=8, segment=1, precision="fp32", kind=kind)
            )
            for one, kind in ways
        ]

    before, limit = phases(), getattr(limits, name)
    moved = []
    for other in (limit // 2, limit * 8) if isinstance(limit, int) else ((1, 1, 1),):
        monkeypatch.setattr(limits, name, other)
        moved.append(phases() != before)
    assert any(moved)


@pytest.fixture(scope="module")
def resolve_once() -> Stage:
    from cell_train.config import profiles, resolve, stage_file

    tables = profiles.load()
    files = stage_file.load_folder(stage_file.built_in_folder(), tables.plasticity)
    profile = profiles.choose(tables, "fit", None)
    return resolve.resolve(files[6], tables, profile, []).stage
