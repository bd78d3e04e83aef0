"""A stage of the grow task: it learns, and what is resumed goes on bit by bit."""

from pathlib import Path
from typing import Any

import pytest

from cell_train.training.checkpoint import fingerprint
from cell_train.training.state import Interrupted
from tests.training.conftest import Make, final, scores, start

GROW = {
    "target": "mushroom",
    "pool": 8,
    "damage": 1,
    "alive": 0.1,
    "regrow_ticks": 12,
    "persist_ticks": 30,
}
STAGE: dict[str, Any] = {
    "task": "grow",
    "grow": GROW,
    "clustering_enabled": False,
    "batch_size": 4,
    "dataset_limit": 40,
    "lattice": {
        "dimensions": [6, 6, 6],
        "channels": 8,
        "hidden": 8,
        "rule": "growing",
        "ticks": 8,
        "ticks_from": 5,
        "connection_density": 1.0,
        "strength_start": [1.0, 1.0],
        "update_probability": 0.8,
    },
    "plasticity": {"enable_plasticity": False, "enable_clustering": False},
    "training": {"reads": 2, "learning_rate": 0.01},
}
PLAN = {"micro_batch": 2, "accumulation": 2, "samples_per_epoch": 40}


def test_it_learns_and_a_resumed_stage_goes_on_bit_by_bit(make: Make, tmp_path: Path) -> None:
    resolved = make(execution=PLAN, epochs=3, **STAGE)
    whole, recorder = start(resolved, tmp_path / "whole")
    row = whole.run()
    losses = [event["metrics"]["mse"] for event in recorder.of("evaluation")]
    assert losses[-1] < 0.7 * losses[0]
    assert {"iou", "cut", "regrown", "left", "regrown_random"} <= scores(row).keys()
    with pytest.raises(Interrupted):
        start(resolved, tmp_path / "parts", stop_after=13)[0].run()
    resumed, _ = start(resolved, tmp_path / "parts")
    assert resumed.state.totals.step == 13
    resumed.run()
    assert fingerprint(final(resumed)) == fingerprint(final(whole))
