"""A small lattice trained on text, and JavaScript run by whatever engines are here."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import cell_train
from cell_train.play import page
from cell_train.run_folder.paths import RunFiles
from cell_train.training.trained_model import TrainedModel
from scripts import browser
from scripts.browser import Page

ROOT = Path(__file__).parents[2]
NODE = shutil.which("node")
LIBRARY = ("rule.js", "text.js", "grow.js", "world.js")  # what needs no page

Evaluate = Callable[[str], Any]


TINY = (
    *("dataset_limit=200", "epochs=3", "data.held_out=16", "monitor.evaluate=8"),
    *("lattice.dimensions=[4,4,4]", "lattice.channels=6", "lattice.hidden=8"),
    *("lattice.backend=plain", "text.embedding=32", "text.decoder_hidden=16"),
    "training.learning_rate=0.01",
)


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFiles:
    """A run of stage 2 alone, as anyone would start it."""
    parent = tmp_path_factory.mktemp("play")
    subprocess.run(
        [
            *(sys.executable, "-m", "cell_train", "run", "--stages", "2", "--quiet"),
            *("--device", "cpu", "--threads", "1", "--output", str(parent), "--name", "small"),
            *TINY,
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
    )
    (folder,) = parent.iterdir()
    return RunFiles(folder)


@pytest.fixture(scope="session")
def trained(run: RunFiles) -> TrainedModel:
    return cell_train.load(run.folder)


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    if browser.CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with browser.chromium() as opened:
        yield opened


@pytest.fixture(params=["node", "chromium"])
def evaluate(request: pytest.FixtureRequest) -> Evaluate:
    """The value of a JavaScript expression that may use Rule, Text and World."""
    library = "\n".join((page.PARTS / name).read_text() for name in LIBRARY)
    if request.param == "chromium":
        opened: Page = request.getfixturevalue("tab")
        return lambda said: opened.evaluate(f"(() => {{ {library}\nreturn {said}; }})()")
    if NODE is None:
        pytest.skip("no Node is installed")

    def ask(said: str) -> Any:
        code = f"{library}\nprocess.stdout.write(JSON.stringify({said}) ?? 'null');"
        done = subprocess.run([NODE, "-"], input=code, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    return ask
