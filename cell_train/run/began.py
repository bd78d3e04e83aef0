"""What a stage began with, so that going on with something else is a decision.

began.json holds the resolved stage, what its stage file wrote, and the hash of its data file.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cell_train.config import profiles, resolve, stage_file
from cell_train.config.schema import Stage
from cell_train.config.stage_file import StageFile
from cell_train.errors import ConfigError
from cell_train.run_files import StageFiles, read_json, write_text


def note(files: StageFiles, stage: Stage, written: StageFile | None) -> None:
    """Note what a stage begins with. Raises OSError as the file system does."""
    file = {"path": str(written.path.absolute()), "values": written.values} if written else None
    _write(files, stage, file)


def changes(files: StageFiles) -> list[str]:
    """What is not as it was when the stage began, a sentence part each, beginning with the file.

    A stage file that is gone is no change: the run has its own copy. Raises ConfigError when
    resolved.yaml itself cannot be read.
    """
    resolved = resolve.read(files.resolved)
    before = read_json(files.began)
    if before is None or not isinstance(before.get("stage"), dict):
        return []
    found = _against(files.resolved, before["stage"], asdict(resolved.stage))
    file = before.get("file")
    if isinstance(file, dict) and Path(str(file.get("path"))).is_file():
        path, values = Path(str(file["path"])), file.get("values") or {}
        known = {*profiles.load().plasticity, str(values.get("plasticity_profile"))}
        try:
            found += _against(path, values, stage_file.load_file(path, known).values)
        except ConfigError as error:
            found.append(str(error))
    data = before.get("data_sha256")
    if data is not None and data != _data_hash(resolved.stage):
        found.append(f"{resolved.stage.data.path}: other text than before")
    return found


def accept(files: StageFiles) -> None:
    """From now on the stage began with what is there now; its stage file is not asked again."""
    _write(files, resolve.read(files.resolved).stage, None)


def _write(files: StageFiles, stage: Stage, file: Mapping[str, Any] | None) -> None:
    record = {"stage": asdict(stage), "file": file, "data_sha256": _data_hash(stage)}
    write_text(files.began, json.dumps(record, indent=1) + "\n")


def _against(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    old, new = dict(flat(before)), dict(flat(now))
    differ = [
        f"{key} {_shown(old.get(key))} -> {_shown(new.get(key))}"
        for key in {**old, **new}
        if old.get(key) != new.get(key)
    ]
    return [f"{path}: {', '.join(differ)}"] if differ else []


def flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of everything in a tree."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _shown(value: Any) -> str:
    return "unset" if value is None else str(value)[:60]


def _data_hash(stage: Stage) -> str | None:
    """The data file's SHA-256, None for built-in text and files that cannot be read."""
    if stage.data.path.startswith("builtin"):
        return None
    try:
        with Path(stage.data.path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None
