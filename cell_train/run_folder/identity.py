"""What is a run: a folder with the marker that only a run has, or all that runs had before it.

A plan.json alone is none: `plan -o plan.json` writes that anywhere. The marker is written first, so
that a run killed while its folder was made is one too.
"""

import json
import re
import stat
from collections.abc import Callable
from datetime import datetime
from enum import Enum
from pathlib import Path

from cell_train._version import __version__
from cell_train.errors import ConfigError
from cell_train.planning import plan_file
from cell_train.run_folder.paths import RunFiles
from cell_train.storage import read_json, write_text

FORMAT = 1
STAMPED = re.compile(r"\d{8}T\d{6}Z-(.+)")  # how `prepare` names run folders
ASIDE = ".removed-"  # how a folder is called while it is deleted
Note = Callable[[str], None]
"""What is told of folders that are passed over."""


class Kind(Enum):
    RUN = "run"
    UNBORN = "a run that was killed while its folder was made"
    FOREIGN = "no run"


def mark(files: RunFiles, name: str, now: datetime) -> None:
    """Write the marker. Raises OSError as the file system does."""
    record = {
        "celltrain": "run",
        "format": FORMAT,
        "version": __version__,
        "name": name,
        "begun": f"{now:%Y-%m-%dT%H:%M:%SZ}",
    }
    write_text(files.marker, json.dumps(record, indent=1) + "\n")


def look(folder: Path) -> tuple[Kind, str]:
    """(what a folder is, why it is no run).

    Raises ConfigError where it is a run of a newer celltrain, OSError where it cannot be read.
    """
    files = RunFiles(folder)
    if not stat.S_ISDIR(folder.stat().st_mode):
        return Kind.FOREIGN, "is no folder"
    inside = {path.name for path in folder.iterdir()}
    if files.marker.name in inside:
        said = read_json(files.marker) or {}
        written = said.get("format")
        if said.get("celltrain") == "run" and type(written) is int and written > FORMAT:
            raise ConfigError(
                f"{folder}: is a run of celltrain {str(said.get('version'))[:20]}, whose format"
                f" {written} is newer than this one reads ({FORMAT}); upgrade celltrain."
            )
        if said.get("celltrain") == "run" and written == FORMAT:
            return (Kind.RUN, "") if files.plan.name in inside else (Kind.UNBORN, "")
        return Kind.FOREIGN, f"its {files.marker.name} is damaged or none of celltrain's"
    if STAMPED.fullmatch(folder.name) and inside <= {files.lock.name}:
        return Kind.UNBORN, ""
    if files.plan.name not in inside:
        return Kind.FOREIGN, f"it holds no {files.marker.name} and no {files.plan.name}"
    return _of_before_the_marker(files)


def _of_before_the_marker(files: RunFiles) -> tuple[Kind, str]:
    """A run of a version without markers had its plan and a stage folder for each of it."""
    try:
        stages = plan_file.read(files.plan)["stages"]
    except ConfigError:  # a file of that name may be anybody's
        return Kind.FOREIGN, f"its {files.plan.name} is no plan of celltrain's, or is damaged"
    for stage in stages:
        resolved = files.stage(stage["stage"]).resolved
        if not stat.S_ISREG(_mode(resolved)) or not stat.S_ISDIR(_mode(resolved.parent)):
            missing = resolved.relative_to(files.folder)
            return Kind.FOREIGN, f"it holds a plan, but no {missing}, as a run does"
    return Kind.RUN, ""


def _mode(path: Path) -> int:
    """0 for what is not there."""
    try:
        return path.lstat().st_mode
    except OSError:
        return 0


def name(files: RunFiles) -> str | None:
    """What `--name` was, as far as it can be told."""
    said = (read_json(files.marker) or {}).get("name")
    if isinstance(said, str):
        return said
    stamped = STAMPED.fullmatch(files.folder.name)
    return stamped[1] if stamped else None


def is_named(files: RunFiles, wanted: str) -> bool:
    """Whether a run was begun with this `--name`.

    Where two of one name were begun in one second, the second's folder ends in -2; a run of before
    the marker does not say whether that is the name's own.
    """
    said = name(files)
    if said == wanted or files.marker.is_file():
        return said == wanted
    return said is not None and re.fullmatch(re.escape(wanted) + r"-\d+", said) is not None
