"""Patterns are stored by plasticity alone, and come back; without it nothing does."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cell_train.errors import ConfigError
from cell_train.training.pattern_storage import stored
from cell_train.training.state import Interrupted
from cell_train.training.step import Lesson, learn
from cell_train.training.telemetry.evaluation import examine
from cell_train.training.trained_model import TrainedModel
from cell_train.training.trainer import Trainer
from tests.training.conftest import Make, final, merged, small, start

RECALL: dict[str, Any] = {
    "task": "recall",
    "batch_size": 6,
    "dataset_limit": 240,
    "epochs": 1,
    "plasticity_profile": "consolidation",
    "clustering_enabled": False,
    "activity_threshold": 0.05,
    "recall": {"patterns": 3, "damage": 0.3, "held_out": 6},
    "lattice": {
        "dimensions": [5, 5, 5],
        "channels": 8,
        "hidden": 16,
        "connection_density": 1.0,
        "rule": "isotropic",
        "inhibition": True,
        "strength_start": [1.0, 1.0],
        "ticks": 8,
        "backend": "auto",
    },
    "plasticity": {
        "when": "forward",
        "enable_clustering": False,
        "stdp": {"learning_rate": 0.05, "time_window": 50.0, "a_minus": 0.5},
        "competition": {"winner_boost": 1.02, "lateral_inhibition": 0.98},
        "emergence_config": {"morphology_tracking": False},
    },
    "training": {"learning_rate": 0.02, "warmup_steps": 5},
}
STEP = {"micro_batch": 6, "samples_per_epoch": 240}


def recall(execution: dict[str, Any] | None = None, **stage: Any) -> dict[str, Any]:
    return {"execution": STEP | (execution or {}), **merged(RECALL, stage)}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    folder = tmp_path_factory.mktemp("recall")
    trainer, _ = start(small(folder / "text.txt", **recall()), folder / "run")
    trainer.run()
    return trainer


def strengths(trainer: Trainer) -> Tensor:
    return trainer.state.model.network.connections.strength


def test_what_was_stored_comes_back_and_nothing_else_does(trained: Trainer) -> None:
    found = trained.evaluate(0, 0).metrics
    assert found["chance"] == pytest.approx(0.4, abs=0.05)
    assert found["overlap"] > 0.75 > found["chance"] + 0.2
    assert found["unseen"] < found["chance"] + 0.05


def test_with_plasticity_off_recall_is_no_better_than_the_cue(trained: Trainer) -> None:
    without = replace(trained.state.model, plastic_when="never")
    found = examine(without, trained.job, 0).metrics
    assert found["overlap"] < found["chance"] + 0.05
    assert found["capacity"] == 0


def test_what_is_loaded_of_a_run_stores_as_well(trained: Trainer) -> None:
    """Also with cells silenced while it recalls, which costs what they would have said."""
    model = trained.state.model
    loaded = TrainedModel(3, trained.job.folder, (), model, torch.ones(5, 5, 5, 1, 1))
    found, whole = loaded.evaluate(6), trained.evaluate(0, 6).metrics
    assert found["overlap"] == pytest.approx(whole["overlap"], abs=0.01)
    damaged = loaded.lesion(0.2).evaluate(6)
    assert whole["chance"] < damaged["overlap"] < whole["overlap"] - 0.05


def test_the_strengths_that_store_are_those_of_hopfield(trained: Trainer) -> None:
    """For each cell up to a constant, which the projection and the inhibition take off."""
    model = trained.state.model
    batch = model.task.memory("train", [0, 1, 2])
    wiring = model.network.connections
    cell, source = wiring.cell, wiring.source
    hebb = wiring.with_strength((batch.memory[:, cell] * batch.memory[:, source]).sum(0))
    sides = [hebb, stored(model, batch, 6)[0].network.connections]
    left, right = (
        side.strength - (side.incoming(side.strength) / side.start.diff())[cell] for side in sides
    )
    assert float(torch.corrcoef(torch.stack((left, right)))[0, 1]) > 0.8


def test_a_memory_is_gone_once_it_was_recalled(make: Make, tmp_path: Path) -> None:
    trainer, _ = start(make(**recall()), tmp_path)
    before = trainer.state.model.plastic.theta.clone(), strengths(trainer).clone()
    trainer.step(list(range(6)))
    trainer.evaluate(0, 6)
    assert torch.equal(trainer.state.model.plastic.theta, before[0])
    assert torch.equal(strengths(trainer), before[1])
    assert trainer.state.totals.change > 0


def test_no_gradient_goes_through_the_storing(make: Make, tmp_path: Path) -> None:
    """The rule's gradient is that with the stored strengths as mere numbers."""
    trainer, _ = start(make(**recall()), tmp_path)
    model = trainer.state.model
    batch = model.task.memory("train", [0, 1, 2])

    def gradients() -> list[Tensor]:
        found = [p.grad.clone() for p in model.network.rule.parameters() if p.grad is not None]
        trainer.state.optimizer.zero_grad()
        return found

    learn(trainer.state, trainer.job, batch, 1.0, Lesson(), None)
    through = gradients()
    full, _ = stored(model, batch, 6)
    assert not full.network.connections.strength.requires_grad
    trainer.state.model = replace(full, plastic_when="never")
    learn(trainer.state, trainer.job, batch, 1.0, Lesson(), None)
    assert len(through) == 5
    assert all(map(torch.equal, through, gradients()))


def test_micro_batches_store_the_whole_memory(make: Make, tmp_path: Path) -> None:
    at_once, _ = start(make(**recall()), tmp_path / "a")
    in_parts, _ = start(make(**recall({"micro_batch": 2, "accumulation": 3})), tmp_path / "b")
    for trainer in (at_once, in_parts):
        trainer.step(list(range(6)))
    assert in_parts.state.totals.loss == pytest.approx(at_once.state.totals.loss, abs=1e-5)
    pair = at_once.evaluate(0, 0).metrics, in_parts.evaluate(0, 0).metrics
    assert pair[1] == pytest.approx(pair[0], abs=0.02)


def test_a_resumed_stage_ends_the_same_to_the_bit(make: Make, tmp_path: Path) -> None:
    resolved = make(**recall({"samples_per_epoch": 36}))
    whole, _ = start(resolved, tmp_path / "whole")
    whole.run()
    stopped, _ = start(resolved, tmp_path / "parts", stop_after=2)
    with pytest.raises(Interrupted):
        stopped.run()
    resumed, _ = start(resolved, tmp_path / "parts")
    assert resumed.state.totals.step == 2
    resumed.run()
    ends = final(whole), final(resumed)
    for part in ("rule", "task"):
        for name, value in ends[0][part].items():
            assert torch.equal(value, ends[1][part][name])
    assert ends[0]["totals"]["change"] == ends[1]["totals"]["change"]


def test_a_task_that_shows_nothing_cannot_store(make: Make, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no method `shows`"):
        start(make(plasticity={"when": "forward"}), tmp_path)
