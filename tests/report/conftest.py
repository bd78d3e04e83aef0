"""A small run of two stages, trained once, and copies of it to spoil."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cell_train.report import page
from cell_train.report.figures import draw
from cell_train.report.run_data import reading
from cell_train.run_folder.paths import RunFiles

ROOT = Path(__file__).parents[2]
SMALL = ("epochs=2", "dataset_limit=64", "data.held_out=16", "monitor.evaluate=8")

Copy = Callable[[], RunFiles]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunFiles:
    """Stages 2 and 3 as anyone would run them, on 64 sentences."""
    parent = tmp_path_factory.mktemp("report")
    subprocess.run(
        [
            *(sys.executable, "-m", "cell_train", "run", "--stages", "2-3", "--quiet"),
            *("--device", "cpu", "--threads", "1", "--output", str(parent), *SMALL),
            "lattice.backend=plain",
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
    )
    (folder,) = parent.iterdir()
    return RunFiles(folder)


@pytest.fixture
def copy(trained: RunFiles, tmp_path: Path) -> Copy:
    """Copies of the run to change."""
    numbers: Iterator[int] = iter(range(1000))

    def make() -> RunFiles:
        folder = tmp_path / str(next(numbers)) / trained.folder.name
        shutil.copytree(
            trained.folder, folder, ignore=shutil.ignore_patterns("checkpoints", "report")
        )
        return RunFiles(folder)

    return make


def html(files: RunFiles) -> str:
    """The page of a run as it stands; no figure of it holds a number that is none."""
    story = reading.read(files)
    drawn = draw.draw(story.stages)
    assert not any(word in svg.lower() for svg in drawn.values() for word in ("nan", "inf"))
    return page.html(story, drawn)


def events(files: RunFiles) -> list[dict[str, Any]]:
    return [json.loads(line) for line in files.events.read_text().splitlines()]


def rewrite(files: RunFiles, told: list[dict[str, Any]]) -> None:
    files.events.write_text("".join(json.dumps(event) + "\n" for event in told))
