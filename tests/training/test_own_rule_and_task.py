"""The examples of docs/extending.md, saved as the files they say they are, train."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import Make, start

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
EXAMPLE = re.compile(r"```python\n(# (\w+)\.py\n.*?)```", re.DOTALL)


@pytest.fixture(autouse=True)
def _saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder of their own, entered, and trusted."""
    found = EXAMPLE.findall(PAGE.read_text())
    for text, name in found:
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("CELLTRAIN_TRUST", ",".join(name for _, name in found))


def test_the_cell_rule_learns(make: Make, tmp_path: Path) -> None:
    resolved = make(epochs=8, lattice={"rule": "my_rules:Leaky"}, training={"learning_rate": 0.01})
    trainer, recorder = start(resolved, tmp_path / "run")
    row: Any = trainer.run()
    cosines = [e["metrics"]["cosine"] for e in recorder.of("evaluation")]
    assert cosines[-1] > cosines[0] + 0.1
    assert row.mean_abs_change > 0


def test_the_plasticity_rule_takes_the_place_of_stdp(make: Make, tmp_path: Path) -> None:
    own = {"plasticity_rule": "my_plasticity:oja", "bcm": {"rate": 0.0}}
    trainer, _ = start(make(plasticity=own), tmp_path / "own")
    row: Any = trainer.run()
    assert row.mean_abs_change > 0
    stdp, _ = start(make(plasticity={"bcm": {"rate": 0.0}}), tmp_path / "stdp")
    stdp.run()
    strengths = [one.state.model.network.connections.strength for one in (trainer, stdp)]
    assert not strengths[0].equal(strengths[1])


def test_the_task_is_learned_and_kept_on_a_larger_lattice(make: Make, tmp_path: Path) -> None:
    own = {"task": "my_tasks:Carry", "training": {"learning_rate": 0.01}}
    small, recorder = start(make(epochs=8, **own), tmp_path / "small")
    row: Any = small.run()
    assert row.primary == "cosine"
    assert row.metrics["cosine"] > 0.5 > recorder.of("evaluation")[0]["metrics"]["cosine"]
    larger = make(stage=4, start_from=row.checkpoint, lattice={"dimensions": [5, 5, 5]}, **own)
    grown, _ = start(larger, tmp_path / "grown")
    assert grown.evaluate(0, 0).metrics["cosine"] > 0.3
