"""From what a command asks for to a plan: load, resolve, plan."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cell_train.config import overrides, profiles, selection, stage_file, validation
from cell_train.config.layers import Layer
from cell_train.config.profiles import Profile, Tables
from cell_train.config.resolve import Resolution
from cell_train.config.stage_file import StageFile
from cell_train.errors import ConfigError, collecting
from cell_train.hardware import probe
from cell_train.hardware.probe import Budget
from cell_train.planning import alternatives
from cell_train.planning import plan as planning
from cell_train.planning.plan import Plan


@dataclass(frozen=True)
class Request:
    """What a command asks to be planned or run."""

    stages: str | None = None
    stages_dir: Path | None = None
    overrides: tuple[str, ...] = ()
    preset: Mapping[str, Any] | None = None
    device: str = "auto"
    threads: int = 0
    profile: str | None = None
    profiles: Path | None = None
    vram: float | None = None
    max_time: float | None = None  # seconds over all stages
    grow: bool = False  # the lattice into the memory there is
    start_from: Path | None = None  # a checkpoint


@dataclass(frozen=True)
class Loaded:
    """All that is read before anything is decided."""

    request: Request
    tables: Tables
    files: list[StageFile]
    above: list[Layer]
    budget: Budget
    trains: bool = False

    @property
    def written(self) -> dict[int, StageFile]:
        return {file.number: file for file in self.files}

    def plan_for(self, gigabytes: float) -> Plan:
        """The plan of the same stages for a GPU of so many GiB, whatever time they take."""
        size = probe.described(gigabytes)
        budget = replace(size, kind=self.budget.kind, device=self.budget.device)
        request = replace(self.request, max_time=None)
        return make_plan(resolve_stages(replace(self, budget=budget, request=request)))

    def plan_without_table(self) -> Plan:
        """The plan of the same stages where the memory model alone decides."""
        request = replace(self.request, profile=profiles.FIT, max_time=None)
        return make_plan(resolve_stages(replace(self, request=request)))


@dataclass(frozen=True)
class Resolved:
    """Every stage complete, under the profile that the budget calls for."""

    stages: list[Resolution]
    profile: Profile
    budget: Budget
    request: Request


def load(request: Request, trains: bool = False) -> Loaded:
    """Read stage files, tables, overrides and the memory there is.

    A budget that is only described needs no device, except where one `trains`.
    """
    if request.grow and request.profile not in (None, profiles.FIT):
        raise ConfigError(f"--grow: goes with --profile fit alone, not {request.profile}.")
    if request.start_from is not None and not request.start_from.is_file():
        raise ConfigError(f"--from {request.start_from}: is no checkpoint file.")
    tables = profiles.load(request.profiles)
    folder = request.stages_dir or stage_file.built_in_folder()
    files = stage_file.load_folder(folder, tables.plasticity)
    optional = [number for number, file in files.items() if file.optional]
    chosen = selection.parse(request.stages, files, optional)
    above = overrides.read(request.overrides, os.environ, tables.plasticity, request.preset)
    if request.vram is None:
        budget = probe.probe(request.device)
    else:
        budget = probe.described(request.vram)
        if trains:
            there = probe.probe(request.device)
            budget = replace(
                budget,
                kind=there.kind,
                device=there.device,
                bf16=there.bf16,
                gpu=there.gpu,
                capability=there.capability,
            )
    return Loaded(request, tables, [files[number] for number in chosen], above, budget, trains)


def resolve_stages(loaded: Loaded) -> Resolved:
    """Choose the memory-budget profile and resolve every stage under it.

    Raises ConfigError with all that does not go together, and text files that are not there
    where a run would need them.
    """
    request, budget = loaded.request, loaded.budget
    name = profiles.FIT if request.grow else request.profile
    profile = profiles.choose(loaded.tables, name, budget.available_gb)
    with collecting() as wrong:
        stages = validation.resolve_all(loaded.files, loaded.tables, profile, loaded.above, wrong)
        wrong += validation.missing_data(stages if loaded.trains else ())
    return Resolved(stages, profile, budget, request)


def make_plan(resolved: Resolved) -> Plan:
    request = resolved.request
    return planning.make(
        resolved.stages,
        resolved.profile,
        resolved.budget,
        request.threads,
        max_time=request.max_time,
        grow=request.grow,
    )


def plan_that_fits(loaded: Loaded, resolved: Resolved) -> Plan:
    made = make_plan(resolved)
    alternatives.require_fit(made, loaded.plan_for)
    return made
