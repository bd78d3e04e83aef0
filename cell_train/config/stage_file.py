"""Stage files: found in a folder, checked as a whole, old spellings understood.

A stage file writes any key of `schema.Stage`. Files from before the lattice section may write
`training.mixed_precision`, `training.gradient_checkpointing`, `training.batch_size_auto_scaling`
and a top-level `dimensions`; these are moved to where they live now and keep their meaning.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cell_train.config import typed, yaml_tree
from cell_train.config.schema import Stage
from cell_train.config.yaml_tree import Node
from cell_train.errors import ConfigError

TABLE = range(1, 6)  # the curriculum's own stages; a file with such a number may lean on them
LEANED_ON = ("description", "epochs", "dataset_limit")  # and lattice.dimensions, set apart below

MOVED = {
    "dimensions": "lattice.dimensions",
    "training.mixed_precision": "optimization.mixed_precision.enabled",
    "training.gradient_checkpointing": "optimization.gradient_checkpointing",
    "training.batch_size_auto_scaling": "optimization.batch_size_auto_scaling",
}


@dataclass(frozen=True)
class StageFile:
    """What one stage file writes, and where each value stands."""

    path: Path
    number: int
    values: Mapping[str, Any]  # nested like schema.Stage, only what is written
    sources: Mapping[str, str]  # dotted key -> "stage3.yaml:12"

    @property
    def optional(self) -> bool:
        return bool(self.values.get("optional", False))


def built_in_folder() -> Path:
    """Where the five stages lie: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "stages"
    return installed if installed.is_dir() else package.parent / "stages"


def load_folder(folder: Path, profile_names: Collection[str]) -> dict[int, StageFile]:
    """Every stage of a folder by number, in order.

    Raises ConfigError with all that is wrong in all files, one sentence a line.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: is not a folder; give the folder that holds the stage files.")
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml"))
    if not paths:
        raise ConfigError(f"{folder}: holds no stage file (*.yaml).")
    wrong: list[str] = []
    stages: dict[int, StageFile] = {}
    for path in paths:
        try:
            stage = load_file(path, profile_names)
        except ConfigError as error:
            wrong.append(str(error))
            continue
        if stage.number in stages:
            first = stages[stage.number].path
            wrong.append(
                f"{stage.sources['stage']}: stage {stage.number} is already defined by {first};"
                " give one of the two another number."
            )
        stages[stage.number] = stage
    if wrong:
        raise ConfigError("\n".join(wrong))
    return dict(sorted(stages.items()))


def load_file(path: Path, profile_names: Collection[str]) -> StageFile:
    """One checked stage file, completed from the stage table where its number stands there.

    Raises ConfigError with every problem of the file.
    """
    name = f"stages/{path.name}" if path.parent == built_in_folder() else str(path)
    root = yaml_tree.read(path, name)
    wrong: list[str] = []
    if isinstance(root.value, dict):
        for old, new in MOVED.items():
            wrong += move(root, old, new)
    wrong += typed.problems(root, Stage)
    if isinstance(root.value, dict):
        wrong += profile_problems(root, profile_names)
        wrong += _absent(root, name)
    if wrong:
        raise ConfigError("\n".join(wrong))
    values = typed.values(root, Stage)
    sources = typed.sources(root, Stage)
    _lean_on_table(values, sources, profile_names)
    return StageFile(path, values["stage"], values, sources)


def move(root: Node, old: str, new: str) -> list[str]:
    """Move the entry at an old dotted key to its new one; a problem if both are written.

    A whole mapping written at the old key is moved to the new key's section.
    """
    holder, name = _holder(root, old)
    if holder is None or name not in holder.value:
        return []
    entry: Node = holder.value.pop(name)
    if isinstance(entry.value, dict) and new.endswith(".enabled"):
        new = new.removesuffix(".enabled")
    for section in new.split(".")[:-1]:
        if section not in root.value or root.value[section].value is None:
            root.value[section] = replace(entry, value={}, size=1)
        root = root.value[section]
        if not isinstance(root.value, dict):
            return []  # reported as a wrong type where it stands
    last = new.rsplit(".", 1)[-1]
    if last in root.value:
        there = root.value[last].where
        return [f"{entry.where}: {old} says what {new} says at {there}; keep one of them."]
    root.value[last] = entry
    return []


def profile_problems(root: Node, known: Collection[str]) -> list[str]:
    """The sentence about a plasticity profile that no table holds."""
    node = root.value.get("plasticity_profile")
    if node is None or not isinstance(node.value, str) or node.value in known:
        return []
    guess = typed.nearest(node.value, known) or f"; known are {', '.join(known)}"
    return [f"{node.where}: plasticity_profile {node.value!r} is unknown{guess}."]


def _holder(root: Node, dotted: str) -> tuple[Node | None, str]:
    *sections, name = dotted.split(".")
    for section in sections:
        child = root.value.get(section)
        if child is None or not isinstance(child.value, dict):
            return None, name
        root = child
    return root, name


def _absent(root: Node, name: str) -> list[str]:
    """Required keys the file lacks; a number of the stage table brings all but the number."""
    if "stage" not in root.value:
        return [f"{name}: has no stage number; write for instance stage: 1."]
    if root.value["stage"].value in TABLE:
        return []
    return [
        f"{name}: {key} is missing; only stages 1 to 5 have a value to fall back on."
        for key in LEANED_ON
        if key not in root.value
    ]


def _lean_on_table(
    values: dict[str, Any], sources: dict[str, str], profile_names: Collection[str]
) -> None:
    """Fill in what the stage table says for this number and the file does not."""
    number = values["stage"]
    dimensions = "lattice.dimensions" in sources
    if number not in TABLE or (dimensions and all(key in sources for key in LEANED_ON)):
        return
    row = load_file(built_in_folder() / f"stage{number}.yaml", profile_names)
    for key in LEANED_ON:
        if key not in sources:
            values[key], sources[key] = row.values[key], f"stage table, row {number}"
    if not dimensions:
        values.setdefault("lattice", {})["dimensions"] = row.values["lattice"]["dimensions"]
        sources["lattice.dimensions"] = f"stage table, row {number}"
