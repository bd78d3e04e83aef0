"""The predicted peak against torch's own allocation records of real training."""

from pathlib import Path
from typing import Any

import pytest

from cell_train.planning.cost import memory
from scripts.benchmarks.common import peak_allocated
from tests.training.conftest import Make, start

SMALL = {"text": {"embedding": 64, "decoder_hidden": 32}, "data": {"held_out": 8}}
SHAPE = {"dimensions": [9, 8, 10], "channels": 8, "hidden": 16, "kernels": 2}
RECALL = {
    "task": "recall",
    "clustering_enabled": False,
    "recall": {"held_out": 1},
    "lattice": SHAPE | {"inhibition": True, "connection_density": 1.0, "backend": "auto"},
    "plasticity": {"when": "forward", "enable_clustering": False},
}
OFF = {"enable_plasticity": False, "enable_clustering": False}


@pytest.mark.parametrize(
    ("execution", "stage"),
    [
        ({"segment": 3, "precision": "bf16"}, {"lattice": SHAPE | {"connection_density": 0.3}}),
        ({"micro_batch": 4, "accumulation": 2}, {"lattice": SHAPE | {"backend": "plain"}}),
        ({"precision": "fp16"}, {"plasticity": OFF, "lattice": SHAPE | {"backend": "plain"}}),
        ({"micro_batch": 1, "accumulation": 8, "segment": 2}, {"lattice": SHAPE}),
        ({"segment": 2}, {"lattice": SHAPE, "plasticity": {"three_factor": {"rate": 0.2}}}),
        ({}, RECALL),
        ({"micro_batch": 2, "accumulation": 4}, RECALL),
    ],
)
def test_the_predicted_peak_is_the_measured_one(
    make: Make, tmp_path: Path, execution: dict[str, Any], stage: dict[str, Any]
) -> None:
    execution = {"micro_batch": 8, "samples_per_epoch": 8} | execution
    words = {**SMALL, "batch_size": 8, "epochs": 2, "dataset_limit": 8, **stage}
    resolved = make(execution, **words)
    peak = memory.footprint(
        resolved.stage,
        micro_batch=resolved.execution.micro_batch,
        segment=resolved.execution.segment,
        precision=resolved.execution.precision,
        kind="cpu",
    )

    def train() -> None:
        trainer, _ = start(resolved, tmp_path)
        trainer.run()

    measured = peak_allocated(train)
    assert peak.tensors == pytest.approx(measured, rel=0.05)


def test_growing_is_never_the_peak(make: Make, tmp_path: Path) -> None:
    """Where least else is held: one sample at a time, a wide code, few strengths."""
    words = {**SMALL, "batch_size": 8, "epochs": 1, "dataset_limit": 512}
    words |= {"text": {"embedding": 128, "decoder_hidden": 32}, "plasticity": OFF}
    execution = {"micro_batch": 1, "accumulation": 8, "segment": 3, "samples_per_epoch": 8}
    small, _ = start(make(execution, **words, lattice=SHAPE), tmp_path / "small")
    row: Any = small.run()
    shape = SHAPE | {"dimensions": [18, 16, 10]}
    resolved = make(execution, stage=4, start_from=row.checkpoint, lattice=shape, **words)
    peak = memory.footprint(resolved.stage, micro_batch=1, segment=3, precision="fp32", kind="cpu")
    del small

    def train() -> None:
        trainer, _ = start(resolved, tmp_path / "grown")
        assert trainer.state.grown_from == (9, 8, 10)
        trainer.run()

    assert peak_allocated(train) <= 1.02 * peak.tensors
