"""plan.json: what `plan -o` writes, `run --plan` runs, and a run folder keeps.

It holds the plan as `--json` prints it, each stage as the worker would get it (`resolved`), and
what the plan leans on: the stage files' values, hashes of data, checkpoint and code.
"""

import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cell_train._version import __version__
from cell_train.config import resolve, task_specs
from cell_train.config.schema import ResolvedStage, Stage
from cell_train.config.stage_file import StageFile
from cell_train.config.yaml.nodes import Node
from cell_train.errors import ConfigError, Place
from cell_train.planning import alternatives
from cell_train.planning import plan as planning
from cell_train.planning.plan import Plan
from cell_train.storage import MAX_JSON, open_plain, write_text

Record = dict[str, Any]
LARGEST = 1 << 62  # whole numbers
DEEPEST = 16


def record(plan: Plan, written: Mapping[int, StageFile], start_from: Path | None = None) -> Record:
    """A plan as data; `written` are the stage files it was made from, by number."""
    said = planning.as_json(plan)
    for one, resolved in zip(said["stages"], plan.resolved(), strict=True):
        one |= {
            "would_fit": [] if one["fits"] else alternatives.what_fits(resolved.stage, plan.terms),
            "resolved": asdict(resolved),
            "file": as_written(written.get(one["stage"])),
            "data_sha256": data_hash(resolved.stage),
        }
    return {
        **said,
        "version": __version__,
        "code_sha256": code_hash(),
        "from": str(start_from.absolute()) if start_from else None,
        "from_sha256": file_hash(start_from) if start_from else None,
        "require": [],  # what `run --require` asks
    }


def as_written(file: StageFile | None) -> Record | None:
    """What a stage file says, so that it can be told when it says something else."""
    return {"path": str(file.path.absolute()), "values": file.values} if file else None


def write(path: Path, plan: Record) -> None:
    """Write a plan file whole or not at all. Raises ConfigError where that cannot be."""
    try:
        write_text(path, text(plan))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror}).") from None


def text(plan: Record) -> str:
    return json.dumps(plan, indent=1) + "\n"


def read(path: Path, follow: bool = True) -> Record:
    """A plan file, which may come from a stranger; with `follow` it may be a link.

    Raises ConfigError naming the file, the place and the value that no plan holds.
    """
    try:
        with open_plain(path, follow) as stream:
            raw = stream.read(MAX_JSON + 1)
        if len(raw) > MAX_JSON:
            raise ConfigError(f"{path}: is larger than {MAX_JSON >> 20} MiB, which no plan is.")
        plan = json.loads(raw)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from None
    except json.JSONDecodeError as error:
        where = f"{path}:{error.lineno}:{error.colno}"
        raise ConfigError(
            f"{where}: is damaged or no plan ({error.msg}); make a new one."
        ) from None
    except (ValueError, RecursionError):
        raise ConfigError(f"{path}: is damaged or no plan; make a new one.") from None
    if not isinstance(plan, dict):
        raise ConfigError(f"{path}: is damaged or no plan; make a new one.")
    wrong = [f"{key} is {_short(plan.get(key))}" for key, fits in PLAN.items() if not fits(plan)]
    for index, stage in enumerate(plan["stages"] if not wrong else ()):
        wrong += [
            f"stages[{index}].{key} is {_short(stage.get(key))}"
            for key, fits in STAGE.items()
            if not fits(stage.get(key))
        ]
    if wrong:
        raise ConfigError(f"{path}: {wrong[0]}, which no plan says; make a new one.")
    return plan


def resolved_stages(plan: Record, path: Path) -> list[ResolvedStage]:
    """The stages of a plan file as their workers would get them.

    Raises ConfigError naming what is wrong in it.
    """
    return [
        _resolved(stage, f"{path}: stages[{i}].resolved") for i, stage in enumerate(plan["stages"])
    ]


def _resolved(stage: Record, where: str) -> ResolvedStage:
    found = resolve.checked(_tree(stage.get("resolved"), where), where)
    execution = found.execution
    if execution.micro_batch * execution.accumulation != found.stage.batch_size:
        raise ConfigError(f"{where}: micro_batch x accumulation is not batch_size.")
    if found.number != stage["stage"]:
        raise ConfigError(f"{where}: is stage {found.number}, not {stage['stage']}.")
    return found


def work(plan: Mapping[str, Any]) -> list[Any]:
    """What of a plan decides the result: its checkpoint and each stage, its text and precision.

    How memory splits the batch does not. The plan may be any JSON object.
    """
    stages = plan.get("stages")
    kept = ("precision", "samples_per_epoch", "data_sha256")
    found: list[Any] = [plan.get("from_sha256")]
    for one in stages if isinstance(stages, list) else ():
        held = one if isinstance(one, dict) else {}
        resolved = held.get("resolved")
        stage = resolved.get("stage") if isinstance(resolved, dict) else None
        found.append([stage, *(held.get(key) for key in kept)])
    return found


def file_hash(path: Path) -> str | None:
    """A file's SHA-256; None where it is none that can be read."""
    try:
        if not path.is_file():  # a device or a pipe may have no end
            return None
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None


def data_hash(stage: Stage) -> str | None:
    """One SHA-256 of the files a stage reads; None where it reads none, or none can be read."""
    names = task_specs.named_files(stage).values()
    hashes = [found for name in names if (found := file_hash(Path(name)))]
    return hashlib.sha256("".join(hashes).encode()).hexdigest() if hashes else None


@functools.cache
def code_hash() -> str:
    """One SHA-256 of all files of the package: the version alone stays while the code changes."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*")):
        if path.suffix in (".py", ".cpp", ".yaml") and path.is_file():
            digest.update(f"{path.relative_to(package)}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _tree(value: Any, where: str, depth: int = 0) -> Node:
    """JSON as the tree that stage files are checked as; every node names the file it is in."""
    if depth > DEEPEST:
        raise ConfigError(f"{where}: is nested deeper than {DEEPEST} levels.")
    if isinstance(value, dict):
        value = {key: _tree(child, where, depth + 1) for key, child in value.items()}
    elif isinstance(value, list):
        value = [_tree(child, where, depth + 1) for child in value]
    elif isinstance(value, int) and not -LARGEST < value < LARGEST:
        value = str(value)[:60]
    text = "" if isinstance(value, (dict, list)) else str(value)
    place = Place(where)
    return Node(value, place, where, place, text)


def _short(value: Any) -> str:
    return "missing" if value is None else repr(value)[:60]


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < LARGEST


def _cells(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(map(_count, value))


def _thinned(value: Any) -> bool:
    if value is None:
        return True
    return isinstance(value, dict) and _count(value.get("samples")) and _count(value.get("of"))


def _file(value: Any) -> bool:
    if not isinstance(value, dict):
        return value is None
    return _text(value.get("path")) and isinstance(value.get("values"), dict)


def _numbers_differ(stages: list[Any]) -> bool:
    numbers = [stage.get("stage") for stage in stages if isinstance(stage, dict)]
    return len(numbers) == len(stages) > 0 and len({*map(str, numbers)}) == len(numbers)


PLAN: dict[str, Callable[[Record], bool]] = {
    "stages": lambda p: isinstance(p.get("stages"), list) and _numbers_differ(p["stages"]),
    "from": lambda p: p.get("from") is None or _text(p["from"]),
    "require": lambda p: isinstance(p.get("require"), list) and all(map(_text, p["require"])),
}
STAGE: dict[str, Callable[[Any], bool]] = {  # what the runner and the display read of a stage
    "stage": lambda value: _count(value) and 1 <= value <= 10**6,
    "description": _text,
    "dimensions": _cells,
    "plasticity_profile": _text,
    "connection_density": lambda value: type(value) in (int, float) and 0 <= value <= 1,
    "epochs": _count,
    "predicted_peak_bytes": _count,
    "budget_bytes": _count,
    "thinned": _thinned,
    "file": _file,
}
