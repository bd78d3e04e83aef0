"""What `celltrain check` says: nothing of the example, a sentence of each thing that is wrong."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cell_train.cli.begin.own_task import TEMPLATE
from cell_train.training.inspection.task_check import check
from tests.training.conftest import Make, scores, start

Check = Callable[..., list[str]]
FORGETS = "    def keep(self, batch, cells):\n        self.seed += 1\n\n"
FAST = {"learning_rate": 0.02, "warmup_steps": 5}
LATTICE = {
    "backend": "auto",
    "dimensions": [4, 4, 4],
    "channels": 6,
    "hidden": 8,
    "rule": "growing",
}


@pytest.fixture
def checked(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    """checked(old=new, ...) -> what is said of the example with these parts of it replaced."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("CELLTRAIN_TRUST", "tried")

    def said(*changes: tuple[str, str]) -> list[str]:
        text = TEMPLATE.read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "tried.py").write_text(text)
        sys.modules.pop("tried", None)
        return check(make(task="tried:Task", lattice=LATTICE, batch_size=4))

    return said


def test_the_example_is_fifty_lines_in_which_nothing_is_wrong(checked: Check) -> None:
    assert len(TEMPLATE.read_text().splitlines()) <= 50
    assert checked() == []


def test_the_example_learns(make: Make, checked: Check, tmp_path: Path) -> None:
    assert checked() == []
    resolved = make(task="tried:Task", lattice=LATTICE, epochs=20, training=FAST)
    trainer, _ = start(resolved, tmp_path / "run")
    assert scores(trainer.run())["fit"] > 0.3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ([("def read", "def reads")], "it has no read; a task needs primary, size,"),
        ([("class Task(nn.Module)", "class Task")], "must be a class derived from torch.nn.Module"),
        ([("return SAMPLES[split]", "return 0")], "size('train') is 0"),
        ([("yield Batch(x, y, len(part))", "yield x")], "must yield cell_train.tasks.base.Batch"),
        ([("yield Batch(x, y, len(part))", "yield Batch(x, y, 2)")], "its size is 2"),
        ([("cells[..., 1:]), -1)", "cells), -1)")], "write gives cells [4, 4, 4, 3, 7] of cells"),
        ([("return (cells @ self.leave)", "return (cells.detach() @ self.leave)")], "no gradient"),
        ([('{"fit": float(', '{"other": float(')], "'fit', its primary, is not among"),
        ([("return missed, {", "return missed.sqrt() / 0, {")], "it must be finite"),
        ([("batch.target).square()", "batch.target).no_such()")], "score fails: AttributeError"),
        (
            [("nn.init.constant_(self.leave, 0.1)", "nn.init.normal_(self.leave)")],
            "leave starts otherwise each time",
        ),
        (
            [(", generator=torch.Generator().manual_seed(number)", "")],
            "its batches are others each time",
        ),
        ([("    def grow", f"{FORGETS}    def grow")], "after a checkpoint its batches are others"),
    ],
)
def test_what_is_wrong_is_a_sentence(
    checked: Check, changes: list[tuple[str, str]], said: str
) -> None:
    found = checked(*changes)
    assert any(said in sentence for sentence in found), found
    assert all(sentence.endswith(".") for sentence in found)
