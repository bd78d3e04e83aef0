"""A stage from start to end: it learns, it grows, it refuses."""

import hashlib
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cell_train import limits
from cell_train.errors import CheckpointError, ConfigError, DeadStart
from cell_train.training import checkpoint
from cell_train.training.state import Interrupted, as_saved
from cell_train.training.telemetry import free_dynamics
from cell_train.training.trained_model import TrainedModel
from tests.training.conftest import Make, final, start


def test_a_stage_learns_and_reports_its_row(make: Make, tmp_path: Path) -> None:
    trainer, recorder = start(make(epochs=12, training={"learning_rate": 0.01}), tmp_path)
    row: Any = trainer.run()
    steps = recorder.of("step")
    assert steps[-1]["step"] == steps[-1]["steps"] == 72
    cosines = [e["metrics"]["cosine"] for e in recorder.of("evaluation")]
    assert cosines[-1] > 0.3 > cosines[0]
    assert row.dimensions == [4, 4, 4]
    assert row.samples == 72 * 16
    assert row.primary == "bleu"
    assert {"bleu", "cosine", "exact", "nearest_bleu"} <= set(row.metrics)
    assert row.mean_abs_change > 0
    assert row.clusterings == 12
    assert Path(row.checkpoint).exists()
    assert len(recorder.of("clustering")) == len(recorder.of("morphology")) == 12
    assert (
        "below 6" in recorder.of("morphology")[0]["reason"]
        or not (recorder.of("morphology")[0]["tested"])
    )


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_accumulated_micro_batches_are_one_batch(make: Make, tmp_path: Path, rate: float) -> None:
    """The effective batch, its gradient and its plasticity do not depend on the micro-batch."""
    words: dict[str, Any] = {"epochs": 1, "plasticity": {"three_factor": {"rate": rate}}}
    at_once, _ = start(make(**words), tmp_path / "a")
    in_parts, _ = start(make({"micro_batch": 4, "accumulation": 4}, **words), tmp_path / "b")
    order = list(range(16))
    at_once.step(order)
    in_parts.step(order)
    a, b = at_once.state.model, in_parts.state.model
    torch.testing.assert_close(
        a.network.connections.strength, b.network.connections.strength, rtol=1e-5, atol=1e-6
    )
    assert at_once.state.totals.cosine == pytest.approx(in_parts.state.totals.cosine or 0, abs=1e-5)


def test_without_plasticity_no_buffer_changes(make: Make, tmp_path: Path) -> None:
    """Strengths, thresholds and traces: what is off must not leak through what it keeps."""
    off = {
        "enable_plasticity": False,
        "enable_clustering": True,
        "homeostasis": {"rate": 0.01},
        "emergence_config": {
            "morphology_tracking": True,
            "periodic_structure_detection": True,
            "pattern_amplification": 1.2,
        },
    }
    trainer, _ = start(make(plasticity=off), tmp_path)

    def digests() -> dict[str, str]:
        saved = as_saved(trainer.state, 3)
        kept = [*saved["connections"].items(), *saved["plastic"].items()]
        kept += [
            *trainer.state.model.network.named_buffers(),
            *trainer.state.model.task.named_buffers(),
        ]
        tensors = {name: value for name, value in kept if isinstance(value, torch.Tensor)}
        return {
            name: hashlib.sha256(value.numpy().tobytes()).hexdigest()
            for name, value in tensors.items()
        }

    before = digests()
    row: Any = trainer.run()
    assert {"mask", "start", "strength", "theta"} <= set(before)
    assert digests() == before
    assert row.mean_abs_change is None


def test_pruned_connections_stay_pruned_and_strengths_in_bounds(make: Make, tmp_path: Path) -> None:
    trainer, _ = start(make(lattice={"connection_density": 0.3}), tmp_path)
    exists = trainer.state.model.network.connections.exists.clone()
    trainer.run()
    after = trainer.state.model.network.connections
    assert torch.equal(after.exists, exists)
    assert after.strength.min() >= 0.1
    assert after.strength.max() <= 2.0


def test_the_next_stage_grows_from_the_last(make: Make, tmp_path: Path) -> None:
    small, _ = start(make(epochs=8, training={"learning_rate": 0.01}), tmp_path / "small")
    row: Any = small.run()
    bigger = {"dimensions": [6, 5, 5], "connection_density": 0.5}
    grown, recorder = start(
        make(start_from=row.checkpoint, stage=4, lattice=bigger), tmp_path / "grown"
    )
    assert recorder.of("stage_start")[0]["grown_from"] == [4, 4, 4]
    rule = zip(
        grown.state.model.network.rule.parameters(),
        small.state.model.network.rule.parameters(),
        strict=True,
    )
    assert all(torch.equal(a, b) for a, b in rule)
    assert row.metrics["cosine"] > 0.5
    assert grown.evaluate(0, 0).metrics["cosine"] > 0.9 * row.metrics["cosine"]


def test_a_rule_of_another_width_is_not_grown_from(make: Make, tmp_path: Path) -> None:
    row: Any = start(make(epochs=1), tmp_path / "a")[0].run()
    with pytest.raises(CheckpointError, match=r"lattice\.channels"):
        start(make(start_from=row.checkpoint, lattice={"channels": 8}), tmp_path / "b")


def test_a_lattice_in_which_nothing_spikes_fails_loudly(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cell_train.training.plasticity_step.DEAD_STEPS", 5)
    trainer, _ = start(make(activity_threshold=1e6), tmp_path / "a")
    with pytest.raises(DeadStart, match="lower activity_threshold"):
        trainer.run()
    calm, _ = start(make(activity_threshold=1e6, plasticity_profile="freeze"), tmp_path / "b")
    calm.run()


@pytest.mark.parametrize("encoder", ["vsa", "learned"])
def test_objective_text_trains_the_lattice_through_the_decoder(
    make: Make, tmp_path: Path, encoder: str
) -> None:
    resolved = make(objective="text", text={"encoder": encoder}, epochs=6)
    trainer, recorder = start(resolved, tmp_path)
    kernel = trainer.state.model.network.rule.kernel.clone()
    trainer.run()
    assert not torch.equal(trainer.state.model.network.rule.kernel, kernel)
    losses = [e["loss"] for e in recorder.of("step")]
    assert losses[-1] < losses[0]


def test_under_objective_embedding_the_decoder_does_not_touch_the_lattice(
    make: Make, tmp_path: Path
) -> None:
    trainer, _ = start(make(), tmp_path)
    batch = next(iter(trainer.state.model.task.batches("train", list(range(8)), 8)))
    y, _ = trainer.state.model.present(batch)
    trainer.state.model.task.decoder.loss(y.detach(), batch.target).backward()
    assert trainer.state.model.network.rule.kernel.grad is None
    loss, _ = trainer.state.model.task.score(y, batch)
    y.retain_grad()
    loss.backward()
    cosine_only = y.grad
    y2, _ = trainer.state.model.present(batch)
    y2.retain_grad()
    (1 - trainer.state.model.task.cosine(y2, batch)).backward()
    assert cosine_only is not None
    assert y2.grad is not None
    torch.testing.assert_close(cosine_only, y2.grad)


def test_a_task_that_leads_nowhere_is_named(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELLTRAIN_TRUST", "no_such_module")
    with pytest.raises(ConfigError, match="no_such_module"):
        start(make(task="no_such_module:Task"), tmp_path)


def test_float16_scales_its_loss_and_learns(make: Make, tmp_path: Path) -> None:
    trainer, recorder = start(make({"precision": "fp16"}, epochs=6), tmp_path)
    assert trainer.state.scaler.is_enabled()
    row: Any = trainer.run()
    losses = [e["loss"] for e in recorder.of("step")]
    assert losses[-1] < losses[0]
    assert row.status == "completed"
    assert final(trainer)["scaler"]["scale"] == 2.0**12


def test_a_gradient_that_overflows_float16_halves_the_scale_and_changes_nothing(
    make: Make, tmp_path: Path
) -> None:
    trainer, recorder = start(make({"precision": "fp16"}), tmp_path)
    kernel = trainer.state.model.network.rule.kernel
    before = kernel.detach().clone()
    overflow = kernel.register_hook(lambda gradient: gradient * math.inf)
    trainer.step(list(range(16)))
    assert torch.equal(kernel, before)
    assert trainer.state.scaler.get_scale() == 2.0**11
    assert len(recorder.of("log")) == 1
    overflow.remove()
    trainer.step(list(range(16)))
    assert not torch.equal(kernel, before)


def test_a_bcm_threshold_too_slow_is_reported_before_the_first_step(
    make: Make, tmp_path: Path
) -> None:
    slow = {"bcm": {"rate": 40.0, "theta_rate": 0.05}}
    _, recorder = start(make(plasticity=slow), tmp_path / "slow")
    (warning,) = recorder.of("log")
    assert "theta_rate 0.05" in warning["message"]
    _, calm = start(make(), tmp_path / "calm")
    assert not calm.of("log")


def test_a_cell_rule_of_ones_own_trains_and_resumes_to_the_same(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELLTRAIN_TRUST", "tests")
    resolved = make(lattice={"rule": "tests.model.test_own_rule:Same"})
    whole, recorder = start(resolved, tmp_path / "whole")
    whole.run()
    assert "test_own_rule:Same, differentiated by auto" in recorder.of("stage_start")[0]["backend"]
    built_in, _ = start(make(), tmp_path / "built-in")
    built_in.run()
    torch.testing.assert_close(
        final(whole)["connections"]["strength"],
        final(built_in)["connections"]["strength"],
        rtol=1e-3,
        atol=1e-4,
    )
    stopped, _ = start(resolved, tmp_path / "parts", stop_after=5)
    with pytest.raises(Interrupted):
        stopped.run()
    resumed, _ = start(resolved, tmp_path / "parts")
    resumed.run()
    assert checkpoint.fingerprint(final(resumed)) == checkpoint.fingerprint(final(whole))


def test_the_free_lattice_is_measured_as_a_stage_ends(make: Make, tmp_path: Path) -> None:
    free = {"emergence_config": {"free_ticks": 200}}
    words: dict[str, Any] = {"epochs": 1, "plasticity": free, "monitor": {"evaluate": None}}
    trainer, recorder = start(make(**words), tmp_path)
    before = trainer.state.model.network.ticks, trainer.state.model.network.segment
    row: Any = trainer.run()
    [event] = recorder.of("emergence")
    assert row.emergence["branching_ratio"] == event["branching_ratio"]
    assert event["undamaged"] == recorder.of("evaluation")[-1]["metrics"]
    assert event["damaged"]["cosine"] < event["undamaged"]["cosine"]
    whole = torch.ones(*trainer.state.model.network.connections.dimensions, 1, 1)
    trained = TrainedModel(1, Path(row.checkpoint), (), trainer.state.model, whole)
    trainer.state.model.task.eval()
    again = trained.lesion(0.2).evaluate()
    assert event["damaged"] == pytest.approx({k: again[k] for k in event["damaged"]}, abs=1e-5)
    assert trainer.state.model.network.awake is None
    assert event["free_ticks"] == 200
    assert 0 <= event["activity_left"] < 10
    assert 0 < event["variation"] < 1
    assert (trainer.state.model.network.ticks, trainer.state.model.network.segment) == before


def test_nothing_is_written_on_a_free_lattice(make: Make, tmp_path: Path) -> None:
    """The input is written at the ticks of the presentation before, and at no other."""
    trainer, _ = start(make(epochs=1), tmp_path)
    model, writes = trainer.state.model, 0
    write = model.task.write

    def counted(cells: Tensor, x: Tensor) -> Tensor:
        nonlocal writes
        writes += 1
        return write(cells, x)

    model.task.write = counted
    everyone = torch.ones(1, model.network.connections.cells, dtype=torch.bool)
    record = free_dynamics.free_run(model, everyone, 30)
    assert record.shape == (30 - free_dynamics.SETTLING, free_dynamics.TRIALS, 1)
    assert writes == model.network.ticks * free_dynamics.TRIALS // limits.FREE_TRIALS_TOGETHER
