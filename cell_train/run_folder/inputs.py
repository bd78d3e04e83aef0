"""What a stage began with, so that going on with something else is a decision.

began.json holds the resolved stage, what its stage file wrote, and the hash of its data file.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from cell_train.config.schema import Stage
from cell_train.planning.plan_file import data_hash
from cell_train.planning.staleness import differences, stage_file_changes
from cell_train.run_folder.paths import StageFiles
from cell_train.storage import read_json, write_text


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
    data = before.get("data_sha256")
    if data is not None and data != data_hash(stage):
        found.append(f"{stage.data.path}: other text than before")
    return found
