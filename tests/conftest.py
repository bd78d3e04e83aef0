"""What several tests need: the tables, the built-in stages, a plan without probing."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from cell_train.config import overrides, profiles, selection, stage_file, validation
from cell_train.config.profiles import Tables
from cell_train.config.resolve import Resolution
from cell_train.errors import collecting
from cell_train.hardware import probe
from cell_train.hardware.probe import GIB, Budget
from cell_train.planning import plan as planning
from cell_train.planning.plan import Plan
from scripts.faults import apart

# draws are fixed, and slow machines are no failure: a test says the same wherever it runs
settings.register_profile(
    "steady", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")

CPU = Budget("cpu", "cpu", None, 16 * GIB, "a test")

MakePlan = Callable[..., Plan]
Resolve = Callable[..., list[Resolution]]


@pytest.fixture(scope="session", autouse=True)
def _cache_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Toy runs are not to be remembered where the user's plans would find them."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_CACHE_HOME", apart.cache_of(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _no_overrides_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in list(os.environ):
        if variable.startswith("CELLTRAIN_"):
            monkeypatch.delenv(variable)


@pytest.fixture(scope="session")
def tables() -> Tables:
    return profiles.load()


@pytest.fixture
def resolve_stages(tables: Tables) -> Resolve:
    """Resolve built-in stages, or those of a folder, under a profile."""

    def make(
        which: str | None = None,
        words: Sequence[str] = (),
        vram: float | None = None,
        profile: str | None = None,
        folder: Path | None = None,
        environment: dict[str, str] | None = None,
        own_tables: Tables | None = None,
    ) -> list[Resolution]:
        known = own_tables or tables
        files = stage_file.load_folder(folder or stage_file.built_in_folder(), known.plasticity)
        chosen = selection.parse(which, files, [n for n, f in files.items() if f.optional])
        above = overrides.read(words, environment or {}, known.plasticity)
        row = profiles.choose(known, profile, vram)
        with collecting() as wrong:
            written = [files[number] for number in chosen]
            stages = validation.resolve_all(written, known, row, above, wrong)
        return stages

    return make


@pytest.fixture
def make_plan(tables: Tables, resolve_stages: Resolve) -> MakePlan:
    """Plan stages for a GPU of `vram` GiB, or for a CPU with 16 GiB."""

    def make(
        which: str | None = None,
        words: Sequence[str] = (),
        vram: float | None = None,
        profile: str | None = None,
        own_tables: Tables | None = None,
        max_time: float | None = None,
        grow: bool = False,
    ) -> Plan:
        budget = CPU if vram is None else probe.described(vram)
        row = profiles.choose(own_tables or tables, profile, vram)
        resolved = resolve_stages(which, words, vram, profile, own_tables=own_tables)
        return planning.make(resolved, row, budget, threads=1, max_time=max_time, grow=grow)

    return make
