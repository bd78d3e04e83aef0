"""Imports only go down, never round in a circle, and only the floors that compute import torch."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "cell_train"

FLOORS = {
    "errors": 0,
    **dict.fromkeys(("_version", "events", "formatting", "invocation"), 1),
    **dict.fromkeys(("limits", "lived", "plugins", "storage", "streams"), 1),
    **dict.fromkeys(("cache", "config", "hardware"), 2),
    **dict.fromkeys(("model", "plasticity", "analysis", "data"), 3),
    "tasks": 4,
    "planning": 5,
    "run_folder": 6,
    **dict.fromkeys(("training", "workers"), 7),
    **dict.fromkeys(("console", "diagnostics", "report"), 8),
    **dict.fromkeys(("play", "runner"), 9),
    "cli": 10,
    "api": 11,
    **dict.fromkeys(("__init__", "__main__"), 12),
}
TORCH = {"model", "plasticity", "analysis", "tasks", "training"}
LIGHT = re.compile(r"cell_train\.tasks(\.(\w+\.)?plan(\.\w+)?)?")  # of tasks, what a plan asks
LATE = {"cli", "api", "__init__"}  # they import what computes when it is asked for: the last test
PURE = {"model", "plasticity", "analysis"}  # usable alone: they know no file, no run, no event
KNOWN_TO_PURE = {"errors", "limits"}


def room(module: str) -> str:
    """cell_train.config.resolve -> config."""
    return [*module.split("."), "__init__"][1]


def imports(tree: ast.AST) -> Iterator[str]:
    """Modules a file imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def violations(path: str, source: str) -> list[str]:
    """What a file of the package imports and must not."""
    parts, wrong = Path(path).with_suffix("").parts, []
    here = parts[0]
    computes = here in TORCH and not LIGHT.fullmatch(".".join(("cell_train", *parts)))
    for module in imports(ast.parse(source)):
        if module.split(".")[0] == "torch" and not computes:
            wrong.append(f"{path} imports {module}")
        if module.split(".")[0] != "cell_train" or module == "cell_train":
            continue
        there = room(module)
        if there not in FLOORS or there == here:  # a name of cell_train itself, or the same room
            continue
        late = computes or here in LATE or LIGHT.fullmatch(module)
        heavy = there in TORCH and not late
        if (
            FLOORS[there] >= FLOORS[here]
            or heavy
            or (here in PURE and there not in ("errors", "limits"))
        ):
            wrong.append(f"{path} imports {module}")
    return wrong


def circle(sources: Mapping[str, str]) -> list[str]:
    """Modules (dotted name -> source) that import one another round in a circle, if any do."""
    graph = {
        name: {found for found in imports(ast.parse(source)) if found in sources and found != name}
        for name, source in sources.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def dotted(path: Path) -> str:
    """cell_train.config.resolve; a package's own file is its `__init__`, which nobody names so."""
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)


def test_every_file_keeps_to_its_floor() -> None:
    files = sorted(PACKAGE.rglob("*.py"))
    assert {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in files} <= {*FLOORS}
    wrong = [
        sentence
        for path in files
        for sentence in violations(str(path.relative_to(PACKAGE)), path.read_text())
    ]
    assert wrong == []


def test_nothing_is_imported_round_in_a_circle() -> None:
    assert circle({dotted(path): path.read_text() for path in PACKAGE.rglob("*.py")}) == []


def test_a_planted_circle_is_found() -> None:
    both = {"a.b": "from a import c", "a.c": "def f():\n    from a.b import g"}
    assert {*circle(both)} == {"a.b", "a.c"}
    assert circle({"a.b": "from a import c", "a.c": "import a"}) == []


def test_no_room_holds_more_than_a_dozen_files() -> None:
    crowded = {
        str(folder.relative_to(PACKAGE)): len(modules)
        for folder in (PACKAGE, *PACKAGE.rglob("*"))
        if folder.is_dir()
        and len(modules := [path for path in folder.glob("*.py") if path.stem != "__init__"]) > 12
    }
    assert crowded == {}


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("config/resolve.py", "from cell_train.planning import plan"),
        ("config/resolve.py", "def f():\n    import cell_train.runner.execute"),
        ("planning/plan.py", "from cell_train import runner"),
        ("planning/plan.py", "from cell_train.model import lattice"),
        ("planning/plan.py", "from cell_train.tasks import base"),
        ("planning/plan.py", "from cell_train.tasks.text.task import TextTask"),
        ("tasks/text/plan.py", "import torch"),
        ("tasks/text/plan.py", "from cell_train.model import lattice"),
        ("planning/plan.py", "import torch.nn"),
        ("runner/execute.py", "from torch import nn"),
        ("run_folder/folder.py", "from cell_train.training import worker"),
        ("report/page.py", "from cell_train.console import view"),
        ("training/worker.py", "from cell_train.runner import execute"),
        ("model/lattice.py", "from cell_train.plasticity import stdp"),
        ("model/lattice.py", "from cell_train import events"),
        ("data/corpus.py", "import torch"),
        ("events/kinds.py", "from cell_train.config import schema"),
        ("cli/plan.py", "import torch"),
    ],
)
def test_a_planted_violation_is_found(path: str, source: str) -> None:
    assert violations(path, source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("runner/execute.py", "from cell_train.data import corpus"),
        ("planning/plan.py", "from cell_train.tasks import plan"),
        ("planning/plan.py", "from cell_train.tasks.plan import Load"),
        ("training/worker.py", "import torch\nfrom cell_train.model import lattice"),
        ("cli/train.py", "from cell_train.runner import execute"),
        ("config/resolve.py", "from cell_train import errors"),
    ],
)
def test_what_goes_down_is_allowed(path: str, source: str) -> None:
    assert violations(path, source) == []


@pytest.mark.parametrize(
    "modules",
    [
        "cell_train.cli",
        "cell_train.runner.execute, cell_train.console.live, cell_train.console.output",
        "cell_train.planning.plan, cell_train.hardware.probe, cell_train.data.validation",
        "cell_train.report.page",
        "cell_train.api, cell_train; cell_train.plan; cell_train.run",
    ],
)
def test_the_command_line_does_not_import_torch(modules: str) -> None:
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    root = PACKAGE.parent
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0
