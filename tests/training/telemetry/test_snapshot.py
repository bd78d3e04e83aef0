"""What a stage leaves for the report: right, bounded, and without a trace in training."""

import json
from pathlib import Path

import pytest
import torch

from cell_train.model import lattice
from cell_train.run_folder.paths import StageFiles
from cell_train.training import checkpoint
from cell_train.training.telemetry import emergence, emit, snapshot
from tests.training.conftest import Make, final, start


def test_training_is_the_same_with_and_without(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at, _ = start(make(), tmp_path / "a" / "checkpoints")
    looked_at.run()
    for told in ("strengths", "portrait"):
        monkeypatch.setattr(emit, told, lambda *_: None)
    monkeypatch.setattr(emergence, "emergence", lambda *_: None)
    alone, _ = start(make(), tmp_path / "b" / "checkpoints")
    alone.run()
    assert checkpoint.fingerprint(final(looked_at)) == checkpoint.fingerprint(final(alone))


def test_histograms_count_every_connection_first_and_last(make: Make, tmp_path: Path) -> None:
    trainer, recorder = start(make(), tmp_path)
    before = trainer.state.model.network.connections.strength.clone()
    trainer.run()
    after = trainer.state.model.network.connections.strength
    told = recorder.of("strengths")
    assert [one["step"] for one in told] == [0, 6, 12]
    for one, values in ((told[0], before), (told[-1], after)):
        edges = torch.linspace(0.1, 2.0, snapshot.BINS + 1)
        assert sum(one["counts"]) == values.numel()
        assert one["counts"] == torch.histogram(values, edges).hist.int().tolist()
        assert one["mean"] == pytest.approx(float(values.double().mean()), rel=1e-6)


def test_a_resumed_stage_does_not_count_its_start_again(make: Make, tmp_path: Path) -> None:
    stopped, _ = start(make(), tmp_path, stop_after=8)
    with pytest.raises(Exception, match="step-000008"):
        stopped.run()
    resumed, recorder = start(make(), tmp_path)
    resumed.run()
    assert [one["step"] for one in recorder.of("strengths")] == [12]


def test_each_cell_is_described_in_its_place(make: Make, tmp_path: Path) -> None:
    trainer, recorder = start(make(), tmp_path)
    trainer.run()
    record = json.loads(StageFiles(tmp_path).lattice.read_text())
    model = trainer.state.model
    field = lattice.mean_strength(model.network.connections)
    x, y, z = 3, 1, 2
    at = (x * 4 + y) * 4 + z
    assert record["dimensions"] == [4, 4, 4]
    assert record["strength"][at] == pytest.approx(float(field[x, y, z]), rel=1e-4)
    labels = trainer.state.adaptation.labels
    assert labels is not None
    assert record["cluster"] == labels.tolist()
    enter = model.task.faces.enter.detach()  # [D, X, Y, C]
    norm = enter[:, x, y].square().sum().sqrt()
    assert record["faces"]["in"][x * 4 + y] == pytest.approx(float(norm), rel=1e-4)
    assert len(record["activity"]) == 64
    assert min(record["activity"]) > 0
    (spectrum,) = recorder.of("spectrum")
    assert not spectrum["tested"]
    assert len(spectrum["power"]) == len(spectrum["null_high"]) > 1


def test_a_large_lattice_is_described_in_part(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "MAX_CELLS", 20)
    trainer, _ = start(make(lattice={"dimensions": [5, 4, 4]}), tmp_path)
    path = tmp_path / "lattice.json"
    snapshot.write(path, trainer.state.model, trainer.state.adaptation, 16)
    record = json.loads(path.read_text())
    assert record["stride"] == 2
    assert record["dimensions"] == [3, 2, 2]
    field = lattice.mean_strength(trainer.state.model.network.connections)
    assert record["strength"][-1] == pytest.approx(float(field[4, 2, 2]), rel=1e-4)
    assert len(record["faces"]["out"]) == 6


def test_a_disk_that_takes_no_portrait_ends_nothing(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(snapshot, "write_text", refuse)
    trainer, recorder = start(make(epochs=1), tmp_path)
    assert trainer.run().status == "completed"
    assert "No space left on device" in recorder.of("log")[-1]["message"]
