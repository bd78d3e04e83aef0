"""A stage small enough to train in a second."""

import copy
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from cell_train import events
from cell_train.config import schema
from cell_train.config.binding import build
from cell_train.config.schema import ResolvedStage
from cell_train.data import builtin
from cell_train.events.kinds import Message, StageEnd
from cell_train.run_folder.paths import StageFiles
from cell_train.training import checkpoint
from cell_train.training.setup import prepare
from cell_train.training.trainer import Trainer

DEFAULTS = Path(schema.__file__).with_name("tables") / "defaults.yaml"
SMALL = {
    "stage": 3,
    "description": "small",
    "optional": False,
    "epochs": 2,
    "dataset_limit": 96,
    "batch_size": 16,
    "plasticity_profile": "learning",
    "clustering_enabled": True,
    "activity_threshold": 0.03,
    "lattice": {
        "dimensions": [4, 4, 4],
        "channels": 6,
        "hidden": 8,
        "connection_density": 0.7,
        "backend": "plain",
    },
    "plasticity": {
        "enable_clustering": True,
        "stdp": {"learning_rate": 0.025, "time_window": 30.0},
        "competition": {"winner_boost": 1.05, "lateral_inhibition": 0.97},
        "emergence_config": {
            "morphology_tracking": True,
            "periodic_structure_detection": True,
            "frequency_analysis": True,
        },
    },
    "text": {"embedding": 32, "decoder_hidden": 16},
    "monitor": {"evaluate": 10},
}
Make = Callable[..., ResolvedStage]


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    tree = copy.deepcopy(base)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(tree.get(key), dict):
            tree[key] = merged(tree[key], value)
        else:
            tree[key] = value
    return tree


def small(
    corpus: Path,
    /,
    execution: dict[str, Any] | None = None,
    start_from: str | None = None,
    **stage: Any,
) -> ResolvedStage:
    """A resolved stage on the sentences in `corpus`, which are written if they are not there."""
    if not corpus.exists():
        corpus.write_text("\n".join(builtin.sentences(150, seed=0)))
    defaults = yaml.safe_load(DEFAULTS.read_text())
    tree = merged(merged(defaults, {**SMALL, "data": {"path": str(corpus)}}), stage)
    plan = {
        "device": "cpu",
        "threads": 1,
        "precision": "fp32",
        "micro_batch": 16,
        "accumulation": 1,
        "segment": 1,
        "samples_per_epoch": 96,
        "predicted_peak_bytes": 0,
        "budget_bytes": 0,
    }
    resolved = {"schema": 1, "version": "0", "stage": tree, "start_from": start_from}
    return build(ResolvedStage, {**resolved, "execution": plan | (execution or {})})


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """make(execution={...}, start_from=..., **stage keys) -> a resolved stage on a small corpus."""
    return partial(small, tmp_path / "text.txt")


class Recorder:
    """Collects what a worker emits."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, message: Message) -> None:
        event = json.loads(json.dumps(events.record(message), allow_nan=False))
        assert events.sound({"stage": 1, **event}), event
        self.events.append((event.pop("event"), event))

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [fields for name, fields in self.events if name == kind]


def start(
    resolved: ResolvedStage, folder: Path, stop_after: int | None = None
) -> tuple[Trainer, Recorder]:
    """A trainer in `folder`; with `stop_after` it is asked to stop once that step is done."""
    recorder = Recorder()
    trainer: Trainer

    def should_stop() -> bool:
        return stop_after is not None and trainer.state.totals.step >= stop_after

    folder.mkdir(parents=True, exist_ok=True)  # as a run has made it
    trainer = prepare(resolved, StageFiles(folder), recorder, should_stop)
    return trainer, recorder


def final(trainer: Trainer) -> dict[str, Any]:
    saved, _, damaged = checkpoint.newest(trainer.job.folder)
    assert saved is not None
    assert not damaged
    return saved


def scores(row: StageEnd) -> dict[str, float]:
    """A stage's metrics, all of which are numbers here."""
    return {name: value for name, value in row.metrics.items() if value is not None}
