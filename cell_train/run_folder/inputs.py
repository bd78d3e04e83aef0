"""What a stage began with, so that going on with something else is a decision.

began.json holds the resolved stage, what its stage file wrote, and the hash of its data file.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from cell_train.config import resolve
from cell_train.config.schema import Stage
from cell_train.planning.plan_file import data_hash
from cell_train.planning.staleness import differences, stage_file_changes
from cell_train.run_folder.paths import StageFiles
from cell_train.storage import read_json, write_text


def note(files: StageFiles, stage: Stage, file: Mapping[str, Any] | None) -> None:
    """Note what a stage begins with; `file` is its stage file as plan.json has it.

    Raises OSError as the file system does.
    """
    record = {"stage": asdict(stage), "file": file, "data_sha256": data_hash(stage)}
    write_text(files.began, json.dumps(record, indent=1) + "\n")


def changes(files: StageFiles) -> list[str]:
    """What is not as it was when the stage began, a sentence part each, beginning with the file.

    A stage file that is gone is no change: the run has its own copy. Raises ConfigError when
    resolved.yaml itself cannot be read.
    """
    resolved = resolve.read(files.resolved)
    before = read_json(files.began)
    if before is None or not isinstance(before.get("stage"), dict):
        return []
    found = differences(files.resolved, before["stage"], asdict(resolved.stage))
    if isinstance(before.get("file"), dict):
        found += stage_file_changes(before["file"])
    data = before.get("data_sha256")
    if data is not None and data != data_hash(resolved.stage):
        found.append(f"{resolved.stage.data.path}: other text than before")
    return found


def accept(files: StageFiles) -> None:
    """From now on the stage began with what is there now; its stage file is not asked again."""
    note(files, resolve.read(files.resolved).stage, None)
