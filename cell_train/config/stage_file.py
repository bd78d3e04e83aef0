"""Stage files: found in a folder, checked as a whole, old spellings understood.

A stage file writes any key of `schema.Stage`. Files from before the lattice section may write
`training.mixed_precision`, `training.gradient_checkpointing`, `training.batch_size_auto_scaling`
and a top-level `dimensions`; these are moved to where they live now and keep their meaning.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cell_train.config import binding
from cell_train.config.schema import Stage
from cell_train.config.yaml import nodes
from cell_train.config.yaml.nodes import Node
from cell_train.config.yaml.suggestions import did_you_mean, nearest
from cell_train.errors import ConfigError, Place, Problem, collecting

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
    places: Mapping[str, Place]  # dotted key -> where its value stands, sections included
    wrong: frozenset[str] = frozenset()  # keys that were written wrongly and left out

    @property
    def optional(self) -> bool:
        return bool(self.values.get("optional", False))


def built_in_folder() -> Path:
    """Where the five stages lie: inside the installed package, or beside it in a checkout."""
    return _shipped("stages")


def _shipped(name: str) -> Path:
    package = Path(__file__).resolve().parents[1]
    installed = package / name
    return installed if installed.is_dir() else package.parent / name


def recipes() -> dict[str, Path]:
    """The folders of stage files that come with celltrain beside the five stages, by name."""
    return {path.name: path for path in sorted(_shipped("recipes").iterdir()) if path.is_dir()}


def paths(folder: Path) -> list[Path]:
    """The stage files of a folder, or of the recipe that `NAME` or `recipes/NAME` is.

    A folder that is there comes first. Raises ConfigError where there is none.
    """
    if folder.parent in (Path(), Path("recipes")) and not folder.exists():
        folder = recipes().get(folder.name, folder)
    try:
        found = sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml"))
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(
            f"{folder}: is not a folder; give the folder that holds the stage files, or a recipe"
            f" ({', '.join(recipes())})."
        ) from None
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be read ({error.strerror}).") from None
    if not found:
        raise ConfigError(f"{folder}: holds no stage file (*.yaml).")
    return found


def load_folder(folder: Path, profile_names: Collection[str]) -> dict[int, StageFile]:
    """Every stage of a folder by number, in order. Raises ConfigError with all that is wrong."""
    with collecting() as wrong:
        stages = read_all(paths(folder), profile_names, wrong)
    return stages


def load_file(path: Path, profile_names: Collection[str]) -> StageFile:
    """One stage file. Raises ConfigError with every problem of the file."""
    with collecting() as wrong:
        stage = read_file(path, profile_names, wrong)
    assert stage is not None  # what has no number is wrong
    return stage


def read_all(
    paths: Iterable[Path], profile_names: Collection[str], wrong: list[Problem]
) -> dict[int, StageFile]:
    """The stages that several files hold, by number, in order; `wrong` grows by what is not."""
    stages: dict[int, StageFile] = {}
    for path in paths:
        stage = read_file(path, profile_names, wrong)
        if stage is not None and stage.number in stages:
            first = stages[stage.number].places["stage"]
            message = f"stage {stage.number} is already defined by {first.name}:{first.line}"
            fix = "give one of the two another number"
            wrong.append(Problem(stage.places["stage"], message, fix, "stage"))
        elif stage is not None:
            stages[stage.number] = stage
    return dict(sorted(stages.items()))


def read_file(path: Path, profile_names: Collection[str], wrong: list[Problem]) -> StageFile | None:
    """What is sound in a stage file, completed from the stage table where its number stands there.

    None where that is too little for a stage; `wrong` grows by every problem of the file.
    """
    name = f"stages/{path.name}" if path.parent == built_in_folder() else str(path)
    before = len(wrong)
    root = nodes.read(path, wrong, name)
    if root is None or _wrapped(root, wrong):
        return None
    sound = sound_tree(root, profile_names, wrong)
    if isinstance(root.value, dict):
        wrong += _absent(root, sound, name)
    values = binding.values(sound, Stage)
    if "stage" not in values:
        return None
    sources = binding.sources(sound, Stage)
    keys = frozenset(problem.key for problem in wrong[before:])
    places = binding.places(sound, Stage)
    _lean_on_table(values, sources, profile_names)
    if any(key not in values for key in LEANED_ON):
        return None
    return StageFile(path, values["stage"], values, sources, places, keys)


def _wrapped(root: Node, wrong: list[Problem]) -> bool:
    """Whether the stage's keys stand below a key around them all, which is told."""
    for key in ("stage", "stages"):
        node = root.value.get(key) if isinstance(root.value, dict) else None
        if node is not None and isinstance(node.value, (dict, list)):
            message = f"{key!r} stands around the keys of a stage"
            fix = "write them without it, one stage a file"
            wrong.append(Problem(node.key_where or node.where, message, fix, key))
            return True
    return False


def sound_tree(root: Node, profile_names: Collection[str], wrong: list[Problem]) -> Node:
    """A tree of stage keys, old ones moved, without what is wrong; `wrong` grows by that."""
    if isinstance(root.value, dict):
        for old, new in MOVED.items():
            move(root, old, new, wrong)
    sound = binding.check(root, Stage, wrong)
    node = sound.value.get("plasticity_profile")
    if node is not None and node.text not in profile_names:
        message = f"plasticity_profile {node.text!r} is unknown"
        guess = did_you_mean(nearest(node.text, profile_names))
        fix = guess or f"known are {', '.join(profile_names)}"
        wrong.append(Problem(node.where, message, fix, "plasticity_profile"))
        del sound.value["plasticity_profile"]
    return sound


def move(root: Node, old: str, new: str, wrong: list[Problem]) -> None:
    """Move the entry at an old dotted key to its new one; a problem if both are written.

    A whole mapping written at the old key is moved to the new key's section.
    """
    holder, name = _holder(root, old)
    if holder is None or name not in holder.value:
        return
    entry: Node = holder.value.pop(name)
    if isinstance(entry.value, dict) and new.endswith(".enabled"):
        new = new.removesuffix(".enabled")
    for section in new.split(".")[:-1]:
        if section not in root.value or root.value[section].value is None:
            root.value[section] = replace(entry, value={}, size=1)
        root = root.value[section]
        if not isinstance(root.value, dict):
            return  # reported as a wrong type where it stands
    last = new.rsplit(".", 1)[-1]
    if last in root.value:
        message = f"{old} says what {new} says at {root.value[last].where}"
        wrong.append(Problem(entry.where, message, "keep one of them", new))
    else:
        root.value[last] = entry


def _holder(root: Node, dotted: str) -> tuple[Node | None, str]:
    *sections, name = dotted.split(".")
    for section in sections:
        child = root.value.get(section)
        if child is None or not isinstance(child.value, dict):
            return None, name
        root = child
    return root, name


def _absent(root: Node, sound: Node, name: str) -> Iterator[Problem]:
    """Required keys the file lacks; a number of the stage table brings all but the number."""
    if "stage" not in root.value:
        fix = "write for instance stage: 1"
        yield Problem(Place(name), "has no stage number", fix, "stage")
    elif "stage" in sound.value and sound.value["stage"].value not in TABLE:
        for key in LEANED_ON:
            if key not in root.value:
                message = f"{key} is missing"
                fix = "write it; only stages 1 to 5 have a value to fall back on"
                yield Problem(sound.value["stage"].where, message, fix, key)


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
