"""docs/tasks.md from nothing to a report, its stages shorter: what it says to type is typed."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tasks.md").read_text()
SHORT = ["epochs=1", "dataset_limit=32", "lattice.hidden=8", "lattice.backend=plain"]


def celltrain(folder: Path, *words: str, trust: str = "") -> str:
    """What a command says on standard output; it must succeed."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("CELLTRAIN_")}
    done = subprocess.run(
        [sys.executable, "-m", "cell_train", *words],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(ROOT), "CELLTRAIN_TRUST": trust, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A folder with the stage files that the page shows."""
    for name in ("grown", "heat"):
        (found,) = re.findall(rf"```yaml\n(# [^\n]*folder {name}:.*?)```", PAGE, re.DOTALL)
        (tmp_path / name).mkdir()
        (tmp_path / name / "stage1.yaml").write_text(found)
    return tmp_path


def test_a_shape_is_grown_drawn_and_reported(page: Path) -> None:
    short = [*SHORT, "grow.persist_ticks=20", "grow.regrow_ticks=6", "training.reads=2"]
    celltrain(page, "run", "--stages-dir", "grown", "--name", "grown", "--quiet", *short)
    said = celltrain(page, "demo", "grow", "--of", "grown")
    assert re.match(r"IoU with the shape: grown \d\.\d{3} after 20 ticks; cut in half", said)
    (folder,) = (page / "runs").glob("*-grown")
    pictures = sorted((folder / "demo").iterdir())
    assert [path.suffix for path in pictures] == [*[".png"] * 4, ".svg", ".html"]
    assert all(path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n") for path in pictures[:4])
    assert pictures[4].read_text().count("<image") == 11 + 1 + 4  # every second tick; the cut
    celltrain(page, "report", "grown")
    html = (folder / "report" / "index.html").read_text()
    assert "held-out IoU" in html
    assert "regrown" in html


def test_a_step_of_heat_is_learned_and_reported(page: Path) -> None:
    (code,) = re.findall(r"```python\n# make_heat\.py\n(.*?)```", PAGE, re.DOTALL)
    script = page / "make_heat.py"
    script.write_text(code)
    subprocess.run([sys.executable, str(script)], cwd=page, check=True)
    celltrain(page, "validate", "heat")
    plan = json.loads(celltrain(page, "plan", "--stages-dir", "heat", "--json"))
    assert plan["stages"][0]["dimensions"] == [8, 8, 8]  # on a CPU too: the data say so
    celltrain(page, "run", "--stages-dir", "heat", "--name", "heat", "--quiet", *SHORT)
    (summary,) = (page / "runs").glob("*-heat/summary.json")
    metrics = json.loads(summary.read_text())["stages"][0]["metrics"]
    assert {"fit", "error", "unchanged"} <= metrics.keys()
    celltrain(page, "report", "heat")


def test_an_example_is_begun_and_checked(tmp_path: Path) -> None:
    said = celltrain(tmp_path, "init", "--task", "my_task.py")
    assert "wrote a task that works" in said
    (tmp_path / "my_task.py").write_text((tmp_path / "my_task.py").read_text() + "\n# mine\n")
    assert "left as it was" in celltrain(tmp_path, "init", "--task", "my_task.py")
    assert (tmp_path / "my_task.py").read_text().endswith("# mine\n")
    said = celltrain(tmp_path, "check", "my_task:Task", trust="my_task")
    assert said == "my_task:Task: nothing is wrong with it\n"
