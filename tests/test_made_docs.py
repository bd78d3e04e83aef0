"""Pages made from the source are in step with it; what pages show is what celltrain takes."""

import re
import subprocess
import sys
from pathlib import Path

from cell_train.config import profiles, validation

ROOT = Path(__file__).parents[1]


def test_made_pages_are_in_step() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/docs.py", "--check"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_option_and_key_is_on_its_page() -> None:
    commands = (ROOT / "docs" / "commands.md").read_text()
    for words in ("`--from` `CHECKPOINT`", "`--quiet`, `-q`", "`--sources`", "`[FILES]...`"):
        assert words in commands
    keys = (ROOT / "docs" / "keys.md").read_text()
    assert "| `lattice.ticks` | `null` | whole number, between 1 and 1000, or null |" in keys


def test_the_example_stage_and_profiles_load(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "stages.md").read_text()
    stage, rows = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "captions.txt").write_text("a dog runs\n")
    (tmp_path / "stage.yaml").write_text(stage.replace("captions", f"{tmp_path}/captions"))
    (tmp_path / "profiles.yaml").write_text(rows)
    assert validation.check([tmp_path / "stage.yaml"], tmp_path / "profiles.yaml", {}) == []
    tables = profiles.load(tmp_path / "profiles.yaml")
    assert {"gentle"} < tables.plasticity.keys()
    assert profiles.choose(tables, None, 10).name == "12gb"
