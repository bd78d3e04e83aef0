"""Imports only go down, and only the floors that compute import torch."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "cell_train"

FLOORS = {
    **dict.fromkeys(("__init__", "errors", "events", "extensions", "run_files"), 0),
    "config": 1,
    **dict.fromkeys(("planning", "tasks", "model", "plasticity"), 2),
    **dict.fromkeys(("run", "report", "training"), 3),
    **dict.fromkeys(("cli", "__main__"), 4),
}
TORCH = {"model", "plasticity", "tasks", "training"}
PURE = {"model", "plasticity"}  # usable alone: they know no file, no run and no event
MAY = {  # between rooms that do not stand above one another
    ("run", "tasks"),  # only the corpus, to look at the text before a run
    ("planning", "tasks"),  # only how much text there is
    ("report", "run"),  # what a run wrote, and how its figures are said
    ("__main__", "cli"),
    ("__init__", "training"),  # cell_train.load, when it is asked for
    ("extensions", "errors"),
}


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
    parts = Path(path).with_suffix("").parts
    here, wrong = parts[0], []
    for module in imports(ast.parse(source)):
        if module.split(".")[0] == "torch" and here not in TORCH:
            wrong.append(f"{path} imports {module}")
        if module.split(".")[0] != "cell_train" or module == "cell_train":
            continue
        there = room(module)
        if there not in FLOORS or there == here:  # a name of cell_train itself, or the same room
            continue
        above = FLOORS[there] >= FLOORS[here] and (here, there) not in MAY
        if above or (here in PURE and FLOORS[there] > 0) or (here in PURE and there != "errors"):
            wrong.append(f"{path} imports {module}")
        text = module.startswith("cell_train.tasks.text")
        if (here, there) in MAY and there == "tasks" and not text:
            wrong.append(f"{path} imports {module}")
    return wrong


def test_every_file_keeps_to_its_floor() -> None:
    files = sorted(PACKAGE.rglob("*.py"))
    assert {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in files} <= {*FLOORS}
    wrong = [
        sentence
        for path in files
        for sentence in violations(str(path.relative_to(PACKAGE)), path.read_text())
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("config/resolve.py", "from cell_train.planning import plan"),
        ("config/resolve.py", "def f():\n    import cell_train.run.runner"),
        ("planning/plan.py", "from cell_train import run"),
        ("planning/plan.py", "from cell_train.model import lattice"),
        ("planning/plan.py", "import torch.nn"),
        ("run/runner.py", "from torch import nn"),
        ("run/runner.py", "from cell_train.training import worker"),
        ("run/runner.py", "from cell_train.report import page"),
        ("run/runner.py", "from cell_train.tasks import shapes"),
        ("training/worker.py", "from cell_train.run import runner"),
        ("model/lattice.py", "from cell_train.plasticity import stdp"),
        ("model/lattice.py", "from cell_train import events"),
        ("events.py", "from cell_train.config import schema"),
        ("cli/plan.py", "import torch"),
    ],
)
def test_a_planted_violation_is_found(path: str, source: str) -> None:
    assert violations(path, source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("run/runner.py", "from cell_train.tasks.text import corpus"),
        ("training/worker.py", "import torch\nfrom cell_train.model import lattice"),
        ("cli/train.py", "from cell_train.run import runner"),
        ("config/resolve.py", "from cell_train import __version__, errors"),
    ],
)
def test_what_goes_down_is_allowed(path: str, source: str) -> None:
    assert violations(path, source) == []


@pytest.mark.parametrize(
    "modules",
    [
        "cell_train.cli",
        "cell_train.run.runner, cell_train.run.display, cell_train.run.printing",
        "cell_train.planning.plan, cell_train.planning.probe, cell_train.tasks.text.check",
        "cell_train.report.page",
    ],
)
def test_the_command_line_does_not_import_torch(modules: str) -> None:
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    root = PACKAGE.parent
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0
