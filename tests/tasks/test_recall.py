"""The recall task's own parts, and the Hopfield network it is measured against."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cell_train.model import lattice
from cell_train.tasks.base import TaskContext
from cell_train.tasks.recall import hopfield
from cell_train.tasks.recall.task import RecallTask, capacity
from tests.training.conftest import small

DIMENSIONS = (4, 5, 6)


def task(tmp_path: Path, **recall: Any) -> RecallTask:
    stage = asdict(small(tmp_path / "text.txt", task="recall", recall=recall).stage)
    return RecallTask(TaskContext(stage, DIMENSIONS, 6, None))


def settled(patterns: Tensor, cue: Tensor) -> Tensor:
    """Hopfield's network cell by cell, from its matrix."""
    near = lattice.wire(DIMENSIONS, density=1.0, strengths=(1, 1), seed=0)
    weights = torch.zeros(near.cells, near.cells)
    weights[near.cell, near.source] = (patterns[:, near.cell] * patterns[:, near.source]).sum(0)
    x, y, z = (torch.arange(size) % 2 for size in DIMENSIONS)
    colour = (4 * x[:, None, None] + 2 * y[:, None] + z).flatten()
    state = cue.clone()
    while True:
        before = state.clone()
        for cell in colour.argsort(stable=True):
            field = weights[cell] @ state
            if field != 0:
                state[cell] = field.sign()
        if torch.equal(state, before):
            return state


@pytest.mark.parametrize("cue", ["noisy", "partial"])
def test_the_hopfield_network_is_that_of_its_matrix(tmp_path: Path, cue: str) -> None:
    memory = task(tmp_path, cue=cue, damage=0.4).memory("train", [0, 1, 2])
    found = hopfield.recall(
        memory.memory.view(-1, *DIMENSIONS), memory.source.view(-1, *DIMENSIONS)
    )
    for state, start in zip(found.flatten(1), memory.source, strict=True):
        assert torch.equal(state, settled(memory.memory, start))


def test_a_cue_is_damaged_as_asked_and_always_alike(tmp_path: Path) -> None:
    noisy, partial = task(tmp_path, damage=0.3), task(tmp_path, damage=0.3, cue="partial")
    order = list(range(40))
    flipped, missing = noisy.memory("train", order), partial.memory("train", order)
    assert torch.equal(flipped.target, missing.target)
    assert torch.equal(flipped.source != flipped.target, missing.source == 0)
    assert float((missing.source == 0).float().mean()) == pytest.approx(0.3, abs=0.02)
    assert torch.equal(noisy.memory("train", [7]).source[0], flipped.source[7])
    assert not torch.equal(noisy.memory("held_out", [7]).target[0], flipped.target[7])


def test_a_batch_is_memories_of_falling_size_in_parts(tmp_path: Path) -> None:
    batches = list(task(tmp_path, patterns=3).batches("train", list(range(8)), 2))
    assert [(batch.size, len(batch.memory)) for batch in batches] == [
        *[(2, 3), (1, 3)],
        (2, 2),
        (1, 1),
        (2, 2),
    ]
    assert len(torch.unique(torch.cat([batch.target for batch in batches]), dim=0)) == 8


def test_capacity_ends_where_recall_first_fails() -> None:
    assert capacity({1: 1.0, 2: 0.96, 3: 0.9, 4: 1.0}.__getitem__, 4) == 2
    assert capacity({1: 0.2}.__getitem__, 1) == 0
    assert capacity({1: 1.0, 2: 0.95}.__getitem__, 2) == 2
