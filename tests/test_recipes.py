"""The recipes of CONTRIBUTING.md followed to the letter: so few files, and it works."""

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MOST = 3  # files that a recipe may touch


@dataclass(frozen=True)
class Recipe:
    """What is written where, file by file: each text goes in before an anchor that is there."""

    name: str  # as CONTRIBUTING.md calls it
    edits: Mapping[str, tuple[tuple[str, str], ...]]  # file -> (anchor, what comes before it)
    proof: str  # Python that ends with an error unless the recipe was followed


KEY = Recipe(
    "a key of a stage",
    {
        "config/schema.py": (
            ("    strength_min: float", "    shininess: float  # how the cells gleam\n"),
        ),
        "config/tables/defaults.yaml": (("  strength_min: 0.1", "  shininess: 0.5\n"),),
        "config/constraints.py": (
            ('    "lattice.strength_min"', '    "lattice.shininess": share,\n'),
        ),
    },
    """
from cell_train.config.reference import json_schema, keys
from cell_train.errors import ConfigError
import cell_train, scripts.docs

key = keys.table()["lattice.shininess"]
assert (key.default, key.meaning) == (0.5, "how the cells gleam"), key
assert "lattice.shininess" in scripts.docs.keys_page()
found = cell_train.plan("1", overrides={"lattice.shininess": 0.25}).stages[0]
assert found.stage.lattice.shininess == 0.25
for wrong in ({"lattice.shininess": 7}, {"lattice.shinines": 0.5}):
    try:
        cell_train.plan("1", overrides=wrong)
    except ConfigError as error:
        assert "shininess" in str(error), error
    else:
        raise AssertionError(wrong)
""",
)
EVENT = Recipe(
    "an event",
    {
        "events/kinds.py": (
            (
                "@dataclass(frozen=True, kw_only=True)\nclass StageEnd(",
                "@dataclass(frozen=True, kw_only=True)\nclass Gleam(Message):\n"
                '    """The cells gleam."""\n\n    kind = "gleam"\n'
                "    to_metrics = to_tensorboard = True\n    epoch: Epoch\n"
                '    brightness: Annotated[float, Says("of the brightest cell")]\n\n\n',
            ),
            ("        *(CheckpointSaved,", "        Gleam,\n"),
        ),
        "training/telemetry/emit.py": (
            (
                "    if plasticity.emergence_config.morphology_tracking:",
                "    job.emit(kinds.Gleam(epoch=epoch, brightness=0.5))\n",
            ),
            ("from cell_train.events.kinds import", "from cell_train.events import kinds\n"),
        ),
    },
    """
import types
from cell_train import events
from cell_train.events import kinds
from cell_train.training.telemetry import emit
import scripts.docs

sent, off = [], types.SimpleNamespace
stage = off(plasticity=off(
    clustering_config=off(update_frequency=1), enable_clustering=False,
    emergence_config=off(morphology_tracking=False)))
emit.structure(None, off(stage=stage, emit=sent.append), 3)
event = events.stamped(sent[0], 1)
assert events.sound(event) and events.in_metrics(event) and events.kept(event)
assert events.figures(event) == {"brightness": 0.5}
assert not events.sound({**event, "brightness": "very"})
assert "## gleam" in scripts.docs.events_page()
""",
)
FIGURE = Recipe(
    "a figure of the report",
    {
        "report/figures/over_stages.py": (
            (
                "def _bands(",
                "def gleam(stages: Sequence[StageStory]) -> str | None:\n"
                "    frame, marks = _bands(stages, SHARES)\n"
                "    marks += _curves(frame, stages, lambda point: point.active)\n"
                '    return document(frame, "Gleam", "How the cells gleam.", *marks)\n\n\n',
            ),
        ),
        "report/figures/draw.py": (
            ('            "score": over', '            "gleam": over_stages.gleam(begun),\n'),
        ),
        "report/sections.py": (
            ('        wide(drawn, "memory", "time"),', '        wide(drawn, "gleam"),\n'),
        ),
    },
    """
from cell_train.report import sections
from cell_train.report.figures.draw import draw
from cell_train.report.run_data.story import Point, StageStory

stage = StageStory(1, "small", "learning", (4, 4, 4), 1.0, epochs=2)
stage.points = [Point(at, 1.0, 0.5, 0.25, 0.1) for at in (0.5, 1.0)]
drawn = draw([stage])
assert "Gleam" in drawn["gleam"]
assert drawn["gleam"] in sections.resources(drawn)
""",
)
RECIPES = {recipe.name: recipe for recipe in (KEY, EVENT, FIGURE)}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package and its scripts, to be written in."""
    for name in ("cell_train", "scripts"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    shutil.copytree(ROOT / "stages", tmp_path / "stages")
    return tmp_path


def prove(copy: Path, recipe: Recipe) -> "subprocess.CompletedProcess[str]":
    words = [sys.executable, "-c", recipe.proof]
    return subprocess.run(words, cwd=copy, capture_output=True, text=True)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_works_and_touches_few_files(name: str, copy: Path) -> None:
    recipe = RECIPES[name]
    assert prove(copy, recipe).returncode != 0  # not yet
    for file, texts in recipe.edits.items():
        path = copy / "cell_train" / file
        whole = path.read_text()
        for anchor, added in texts:
            assert whole.count(anchor) == 1, anchor
            whole = whole.replace(anchor, added + anchor)
        path.write_text(whole)
    done = prove(copy, recipe)
    assert done.returncode == 0, done.stderr
    assert len(recipe.edits) <= MOST


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_the_one_that_is_written_down(name: str) -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text()
    told = re.search(rf"^- \*\*{name}\*\*:(.*?)(?=^- \*\*|^## )", page, re.DOTALL | re.MULTILINE)
    assert told is not None
    named = set(re.findall(r"`([\w/]+\.(?:py|yaml))`", told[1])) - {"docs/keys.md"}
    touched = {file for file in RECIPES[name].edits if "telemetry" not in file}
    assert touched <= named
