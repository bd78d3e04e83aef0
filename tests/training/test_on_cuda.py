"""Training on CUDA, on a device that is none: every path of it, and what a step asks of the device.

The device (tests/support/fake_cuda) is there from a process's start or not at all, so these tests
run in a process of their own, which the first one starts.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from cell_train.training import trainer as training
from cell_train.training.state import Interrupted
from cell_train.training.trainer import Trainer
from tests.support.fake_cuda import build
from tests.training.conftest import final, merged, small, start

MARK = "CELLTRAIN_TEST_ON_FAKE_CUDA"
THERE = os.environ.get(MARK) == "1"
apart = pytest.mark.skipif(not THERE, reason="run in a process of its own")
SHORT = {
    "epochs": 1,
    "dataset_limit": 16,
    "batch_size": 8,
    "data": {"held_out": 4, "max_words": 6},
    "monitor": {"evaluate": 4},
    "plasticity": {"emergence_config": {"free_ticks": 20}},
}
LAUNCHES = 900  # of a step: no more without a reason
STILL = {"enable_clustering": False, "emergence_config": {"morphology_tracking": False}}


@pytest.mark.skipif(THERE, reason="this is that process")
def test_in_a_process_that_sees_a_device() -> None:
    if build.compiler() is None:
        pytest.skip("no C++ compiler here, which builds the device")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    # LD_PRELOAD is for the process with the tests, not for what it starts
    environment = os.environ | build.environment() | {MARK: "1", "OMP_NUM_THREADS": "1"}
    root = Path(__file__).parents[2]
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(autouse=True, scope="module")
def _device() -> Iterator[None]:
    if not THERE:
        yield
        return
    from tests.support.fake_cuda import device

    device.install()
    with device.on_it():
        yield


def stage(folder: Path, **over: Any) -> Any:
    execution = {"device": "cuda", "micro_batch": 8, **over.pop("execution", {})}
    tree = merged({**SHORT, "lattice": {"backend": "auto"}}, over)
    return small(folder / "text.txt", execution=execution, **tree)


OPTIONS: dict[str, dict[str, Any]] = {
    "clusters and structures": {},
    "half": {"execution": {"precision": "bf16"}},
    "half as fp16 with a scaled loss": {"execution": {"precision": "fp16"}},
    "accumulated, in segments": {
        "execution": {"micro_batch": 4, "accumulation": 2, "segment": 3, "precision": "bf16"},
        "plasticity": STILL,
    },
    "the definition": {"lattice": {"backend": "plain"}, "plasticity": STILL},
    "a learned encoder": {"objective": "text", "text": {"encoder": "learned"}},
    "beams": {"objective": "text", "text": {"beam": 3}, "plasticity": STILL},
    "inhibition, periodic": {"lattice": {"inhibition": True, "periodic": True}},
    "triplets that persist": {
        "plasticity": {**STILL, "plasticity_rule": "triplet", "persist_traces": True}
    },
    "homeostasis, nearest": {
        "plasticity": {**STILL, "homeostasis": {"rate": 0.1}, "stdp": {"pairing": "nearest"}}
    },
    "third factor": {"plasticity": {**STILL, "three_factor": {"rate": 0.8}}},
    "amplified": {"plasticity": {"emergence_config": {"pattern_amplification": 1.2}}},
    "bypassed": {"monitor": {"control": "bypass"}},
    "frozen": {"monitor": {"control": "frozen"}},
    "recall": {
        "task": "recall",
        "dataset_limit": 8,
        "batch_size": 4,
        "lattice": {"rule": "isotropic", "inhibition": True},
        "plasticity": {**STILL, "when": "forward"},
        "execution": {"micro_batch": 4, "precision": "bf16"},
        "recall": {"held_out": 1},
    },
}


@apart
@pytest.mark.parametrize("name", OPTIONS)
def test_a_stage_trains_to_its_end(tmp_path: Path, name: str) -> None:
    trainer, record = start(stage(tmp_path, **OPTIONS[name]), tmp_path / "run")
    row = trainer.run()
    assert row.status == "completed"
    assert all(value is not None for value in row.metrics.values())
    assert not [event for event in record.of("log") if "not finite" in event["message"]]


@apart
def test_a_lattice_grows(tmp_path: Path) -> None:
    trainer, _ = start(stage(tmp_path, plasticity=STILL), tmp_path / "run")
    trainer.run()
    origin = str(sorted((tmp_path / "run" / "checkpoints").glob("step-*.pt"))[-1])
    larger = stage(tmp_path, start_from=origin, lattice={"dimensions": [5, 5, 5]})
    trainer, record = start(larger, tmp_path / "grown")
    trainer.run()
    assert record.of("stage_start")[0]["grown_from"] == [4, 4, 4]
    assert trainer.state.model.device.type == "cuda"


@apart
@pytest.mark.parametrize(
    "rung",
    [{}, {"segment": 3}, {"micro_batch": 4, "accumulation": 2}, {"precision": "fp16"}],
    ids=["as it was", "longer segments", "smaller micro-batches", "cells in half"],
)
def test_a_stage_goes_on_within_an_epoch(tmp_path: Path, rung: dict[str, Any]) -> None:
    """With clusters, whose affinities the steps read: also where memory ran out before."""
    over = {"dataset_limit": 32}
    trainer, _ = start(stage(tmp_path, **over), tmp_path / "run", stop_after=2)
    with pytest.raises(Interrupted):
        trainer.run()
    trainer, _ = start(stage(tmp_path, execution=rung, **over), tmp_path / "run")
    assert trainer.state.totals.step == 2
    trainer.run()
    assert trainer.state.totals.step == 4


@apart
def test_what_goes_on_is_what_never_stopped(tmp_path: Path) -> None:
    over = {"dataset_limit": 32, "plasticity": {"persist_traces": True}}
    whole, _ = start(stage(tmp_path, **over), tmp_path / "whole")
    whole.run()
    cut, _ = start(stage(tmp_path, **over), tmp_path / "cut", stop_after=3)
    with pytest.raises(Interrupted):
        cut.run()
    start(stage(tmp_path, **over), tmp_path / "cut")[0].run()
    one, other = final(whole), final(start(stage(tmp_path, **over), tmp_path / "cut")[0])
    assert torch.equal(one["connections"]["strength"], other["connections"]["strength"])
    for name, value in one["rule"].items():
        assert type(value) is torch.Tensor  # a checkpoint is read without the device
        assert torch.equal(value, other["rule"][name])


@apart
def test_bad_steps_are_rolled_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "BAD_STEPS", 1)
    trainer, record = start(stage(tmp_path, dataset_limit=32), tmp_path / "run")
    bad = iter((False, True))
    score = trainer.state.model.task.score

    def spoiled(y: torch.Tensor, batch: Any) -> Any:
        loss, metrics = score(y, batch)
        return (loss * torch.nan if next(bad, False) else loss), metrics

    monkeypatch.setattr(trainer.state.model.task, "score", spoiled)
    assert trainer.run().rollbacks == 1
    assert [event for event in record.of("log") if "rolled back" in event["message"]]


Counts = dict[str, int]


def asked(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, int], dict[str, int]]:
    """(launches, waits) of the third step: in the first two there is something to set up."""
    from tests.support.fake_cuda import device

    found: list[tuple[Counts, Counts]] = []
    step = Trainer.step

    def counted(self: Trainer, samples: list[int]) -> None:
        device.LAUNCHES.clear()
        device.WAITS.clear()
        step(self, samples)
        found.append((dict(device.LAUNCHES), dict(device.WAITS)))

    monkeypatch.setattr(Trainer, "step", counted)
    trainer.run()
    return found[2]


@apart
def test_what_a_step_asks_of_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step as stage 5's, of as many ticks as a lattice 16 cells deep has."""
    over = {
        "dataset_limit": 24,
        "lattice": {"dimensions": [4, 4, 16], "channels": 8},
        "plasticity": {"emergence_config": {"morphology_tracking": False}},
    }
    trainer, _ = start(stage(tmp_path, **over), tmp_path / "run")
    launches, waits = asked(trainer, monkeypatch)
    assert sum(waits.values()) <= 1, waits
    assert sum(launches.values()) <= LAUNCHES, launches
