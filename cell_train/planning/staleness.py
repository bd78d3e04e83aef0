"""What is no longer as it was when a plan was made or a stage began."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cell_train._version import __version__
from cell_train.config import profiles, stage_file, task_specs
from cell_train.config.schema import ResolvedStage, Stage
from cell_train.errors import BudgetError, ConfigError
from cell_train.hardware import probe
from cell_train.hardware.probe import GIB
from cell_train.planning import plan_file
from cell_train.planning.cost import memory
from cell_train.planning.plan_file import Record, code_hash, data_hash, file_hash


def load_current(path: Path) -> tuple[Record, list[ResolvedStage]]:
    """A plan file and its stages for their workers, where all is as it was when it was made.

    Raises ConfigError naming what has changed since, BudgetError when a stage fits no more.
    """
    plan = plan_file.read(path)
    stages = plan_file.resolved_stages(plan, path)
    changed = _changes(plan, stages)
    if changed:
        said = "; ".join(dict.fromkeys(changed))
        raise ConfigError(f"{path}: does not hold any more: {said}. Plan again.")
    return plan, _on_this_machine(stages, path)


def _changes(plan: Record, stages: Sequence[ResolvedStage]) -> list[str]:
    found = []
    if plan.get("version") != __version__:
        found.append(f"celltrain is version {__version__}, not {_shown(plan.get('version'))}")
    elif plan.get("code_sha256") != code_hash():
        found.append("celltrain's code is another")
    for one, resolved in zip(plan["stages"], stages, strict=True):
        file = one.get("file")
        if file is not None:
            found += stage_file_changes(file) or _gone(Path(file["path"]))
        if one.get("data_sha256") != data_hash(resolved.stage):
            found.append(f"{_data(resolved.stage)}: other data than was planned with")
    if plan["from"] is not None:
        found += _gone(Path(plan["from"])) or _other_checkpoint(plan)
    return found


def _data(stage: Stage) -> str:
    """The files of a stage, or what it reads in their place."""
    return ", ".join(task_specs.named_files(stage).values()) or f"task {stage.task}"


def _on_this_machine(stages: Sequence[ResolvedStage], path: Path) -> list[ResolvedStage]:
    """The stages on the device they were planned for, as it is now.

    A GPU that was only described becomes the one with most free memory.
    """
    device = stages[0].execution.device
    try:
        budget = probe.probe(device)
    except ConfigError as error:
        raise ConfigError(f"{path}: is for another device. {error}") from None
    for one in stages:
        execution = one.execution
        if execution.device != device:
            raise ConfigError(f"{path}: its stages name several devices; plan again.")
        if execution.precision == "bf16" and not budget.bf16:
            raise ConfigError(
                f"{path}: plans with bf16, which {budget.source} has not. Plan again."
            )
        peak = memory.footprint(
            one.stage,
            micro_batch=execution.micro_batch,
            segment=execution.segment,
            precision=execution.precision,
            kind=budget.kind,
        ).total
        if peak > budget.usable_bytes:
            raise BudgetError(
                f"{path}: does not fit any more: stage {one.number} needs {peak / GIB:.2f}"
                f" GiB, and where {execution.budget_bytes / GIB:.2f} GiB were to be had there are"
                f" {budget.usable_bytes / GIB:.2f} now. Make room or plan again."
            )
    return [replace(one, execution=replace(one.execution, device=budget.device)) for one in stages]


def stage_file_changes(file: Mapping[str, Any]) -> list[str]:
    """What a stage file says otherwise than its noted `values`; nothing where it is gone."""
    path, values = Path(str(file.get("path"))), file.get("values") or {}
    if not path.is_file():
        return []
    known = {*profiles.load().plasticity, str(values.get("plasticity_profile"))}
    try:
        return differences(path, values, stage_file.load_file(path, known).values)
    except ConfigError as error:
        return [str(error)]


def differences(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The keys in which two trees differ, as one sentence part that begins with the file."""
    old, new = dict(flat(before)), dict(flat(now))
    differ = [
        f"{key} {_shown(old.get(key))} -> {_shown(new.get(key))}"
        for key in {**old, **new}
        if old.get(key) != new.get(key)
    ]
    return [f"{path}: {', '.join(differ)}"] if differ else []


def _gone(path: Path) -> list[str]:
    return [] if path.is_file() else [f"{path}: is gone"]


def _other_checkpoint(plan: Record) -> list[str]:
    same = plan.get("from_sha256") == file_hash(Path(plan["from"]))
    return [] if same else [f"{plan['from']}: another checkpoint than was planned with"]


def flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of everything in a tree."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _shown(value: Any) -> str:
    return "unset" if value is None else str(value)[:60]
