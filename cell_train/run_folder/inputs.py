"""What a stage began with, so that going on with something else is a decision.

began.json holds the resolved stage, what its stage file wrote, and the hash of its data file.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cell_train.config import resolve, task_specs
from cell_train.config.schema import ResolvedStage, Stage
from cell_train.errors import ConfigError
from cell_train.planning.plan_file import data_hash
from cell_train.planning.staleness import differences, stage_file_changes
from cell_train.run_folder.paths import StageFiles
from cell_train.storage import read_json, write_text

MOVABLE = ("data.path", "data.held_out_path", "text.embeddings")


def note(files: StageFiles, stage: Stage, file: Mapping[str, Any] | None) -> None:
    """Note what a stage begins with; `file` is its stage file as plan.json has it,
    None where that is not to be asked again.

    Raises OSError as the file system does.
    """
    record = {"stage": asdict(stage), "file": file, "data_sha256": data_hash(stage)}
    write_text(files.began, json.dumps(record, indent=1) + "\n")


def changes(files: StageFiles, stage: Stage) -> list[str]:
    """What of a stage is not as it was when it began, a sentence part each, file first.

    `stage` is what resolved.yaml says now. A stage file that is gone is no change: the run has its
    own copy.
    """
    before = read_json(files.began)
    if before is None or not isinstance(before.get("stage"), dict):
        return []
    found = differences(files.resolved, before["stage"], asdict(stage))
    if isinstance(before.get("file"), dict):
        found += stage_file_changes(before["file"])
    return found + _other_data(before, stage)


def data_changes(files: StageFiles, stage: Stage) -> list[str]:
    """What is no more as it was of a stage's data alone, a sentence part each."""
    return _other_data(read_json(files.began) or {}, stage)


def _other_data(before: Mapping[str, Any], stage: Stage) -> list[str]:
    data = before.get("data_sha256")
    if data is None or data == data_hash(stage):
        return []
    names = ", ".join(task_specs.named_files(stage).values())
    return [f"{names}: other data than before"]


def gone(files: StageFiles, stage: Stage) -> dict[str, str]:
    """Files of data that were there when the stage began and are not now, by their keys."""
    if (read_json(files.began) or {}).get("data_sha256") is None:
        return {}
    named = _files(stage)
    return {key: name for key, name in named.items() if not Path(name).is_file()}


def _files(stage: Stage) -> dict[str, str]:
    """The files a stage reads, by their keys; a name that is no path is no file's."""
    named = task_specs.named_files(stage)
    return {key: name for key, name in named.items() if Path(name).is_absolute()}


def moved(words: Sequence[str]) -> dict[str, str]:
    """KEY=VALUE words that say where files of data are now. Raises ConfigError for others."""
    places = {}
    for word in words:
        key, _, name = word.partition("=")
        if key not in MOVABLE:
            raise ConfigError(
                f"{word}: a run keeps what it began with; resume takes new places of its files"
                f" alone, as {', '.join(f'{key}=FILE' for key in MOVABLE)}."
            )
        path = Path(name).absolute()
        if not path.is_file():
            raise ConfigError(f"{key}={path}: is not there; relative paths begin where you are.")
        places[key] = str(path)
    return places


def move(files: StageFiles, resolved: ResolvedStage, places: Mapping[str, str]) -> ResolvedStage:
    """From now on the stage reads its files from there; what they hold is compared all the same.

    Raises OSError as the file system does.
    """
    stage, here = resolved.stage, _files(resolved.stage)
    new = {key: name for key, name in places.items() if key in here}
    sections = {key.partition(".")[0] for key in new}
    stage = replace(stage, **{name: replace(getattr(stage, name)) for name in sections})
    before = read_json(files.began) or {}
    for key, name in new.items():
        section, _, last = key.partition(".")
        setattr(getattr(stage, section), last, name)
        noted = before.get("stage")
        if isinstance(noted, dict) and isinstance(noted.get(section), dict):
            noted[section][last] = name
    if before:
        write_text(files.began, json.dumps(before, indent=1) + "\n")
    moved = replace(resolved, stage=stage)
    write_text(files.resolved, resolve.write(moved))
    return moved


def use_threads(files: StageFiles, resolved: ResolvedStage, threads: int) -> ResolvedStage:
    """From now on the stage computes with so many; 0: with all cores.

    Raises OSError as the file system does.
    """
    resolved = replace(resolved, execution=replace(resolved.execution, threads=threads))
    write_text(files.resolved, resolve.write(resolved))
    return resolved
