"""The examples run as they are, from a folder of their own, and the notebook from end to end."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.toy import environment

EXAMPLES = Path(__file__).parents[1] / "examples"
SAYS = {
    "train_and_ask.py": "came back as",
    "own_rule.py": "'cosine'",
    "own_task.py": "'cosine'",
}


@pytest.mark.parametrize("name", sorted(SAYS))
def test_a_script_runs_to_its_end(name: str, tmp_path: Path) -> None:
    here = shutil.copytree(EXAMPLES, tmp_path / "examples")
    small = environment(tmp_path / "bin")
    done = subprocess.run(
        [sys.executable, name], cwd=here, env=small, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert SAYS[name] in done.stdout
    assert list(here.glob("runs/*/summary.json"))


def test_every_example_is_listed_and_tested() -> None:
    listed = (EXAMPLES / "README.md").read_text()
    for path in EXAMPLES.iterdir():
        if path.suffix in (".py", ".ipynb"):
            assert path.name in listed
            assert path.suffix == ".ipynb" or path.name in SAYS


@pytest.mark.filterwarnings("ignore")  # of Jupyter's own parts
def test_the_notebook_runs_from_end_to_end() -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    notebook = nbformat.read(EXAMPLES / "lattice.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # kept without output
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    said = [part.get("text", "") for cell in notebook.cells for part in cell.get("outputs", ())]
    assert any("cosine of what the output face says" in text for text in said)
