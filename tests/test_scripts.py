"""The scripts that people copy into their CI: sound as shell, and run for real at toy size."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import toy

SCRIPTS = sorted((toy.ROOT / "scripts" / "ci").glob("*.sh"))
REAL = dict[str, str]


def run(words: list[str], folder: Path, environment: REAL) -> "subprocess.CompletedProcess[str]":
    """Run a script by its name."""
    command = [str(toy.ROOT / "scripts" / "ci" / words[0]), *words[1:]]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )


@pytest.fixture
def environment(tmp_path: Path) -> REAL:
    """Where the scripts find a real celltrain, with a small text beside them."""
    (tmp_path / "my.txt").write_text(toy.sentences())
    return toy.environment(tmp_path / "bin") | {"CELLTRAIN_DATA__PATH": str(tmp_path / "my.txt")}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_sound_shell(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True)
    if shutil.which("shellcheck"):
        done = subprocess.run(["shellcheck", str(script)], capture_output=True, text=True)
        assert done.stdout == ""


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_without_arguments_says_how_it_is_used(
    script: Path, tmp_path: Path, environment: REAL
) -> None:
    done = run([script.name], tmp_path, environment)
    assert done.returncode == 1
    assert f"usage: {script.name} " in done.stderr


def test_the_plan_gate_fails_what_does_not_fit(tmp_path: Path, environment: REAL) -> None:
    passed = run(["plan-gate.sh", "8", "--stages", "1-5"], tmp_path, environment)
    assert passed.returncode == 0
    assert all(
        stage["fits"] for stage in json.loads((tmp_path / "plan.json").read_text())["stages"]
    )
    large = ["--profile", "fit", "lattice.dimensions=[200,200,200]"]
    failed = run(["plan-gate.sh", "8", *large], tmp_path, environment)
    assert failed.returncode == 3
    assert "the smallest budget that fits is --vram" in failed.stderr


def test_a_nightly_run_goes_on_where_time_was_up(tmp_path: Path, environment: REAL) -> None:
    words = ["--stages", "1", "epochs=100000", "training.checkpoint_every=0.1"]
    starts: list[int] = []
    for seconds in (5, 5, 10, 20, 40, 80):  # how long a worker takes to start, nobody knows
        night = run(["nightly.sh", str(seconds), *words], tmp_path, environment)
        assert night.returncode == 0, night.stderr
        assert "time is up" in night.stderr
        (folder,) = (tmp_path / "runs").iterdir()  # no second run was begun
        events = map(json.loads, (folder / "events.jsonl").read_text().splitlines())
        starts = [event["step"] for event in events if event["event"] == "stage_start"]
        if starts and starts[-1] > 0:
            break
    assert starts == sorted(starts)
    assert starts[0] == 0 < starts[-1]


def test_a_sweep_tries_every_combination_and_compares(tmp_path: Path, environment: REAL) -> None:
    values = ["epochs", "none 1", "seed", "0 1"]
    done = run(["sweep.sh", *values, "--stages", "1"], tmp_path, environment)
    assert done.returncode == 1  # for two of the four are no configuration
    assert done.stderr.count("epochs must be a whole number, not 'none'") == 2
    names = sorted(path.name.split("-", 1)[1] for path in (tmp_path / "runs/sweep").iterdir())
    assert names == ["at-1-0", "at-1-1"]
    assert ["1", "seed", "1", "0"] in [line.split() for line in done.stdout.splitlines()]
