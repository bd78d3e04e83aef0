"""A stage from start to end: it learns, it resumes to the same bits, it grows, it refuses."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cell_train.errors import CheckpointError, ConfigError, DeadStart, Diverged
from cell_train.training import checkpoint
from cell_train.training.trainer import Interrupted, Trainer
from tests.training.conftest import Make, start

TIMES = ("seconds",)


def digest(value: Any) -> str:
    """A hash of every tensor and number in a checkpoint, apart from what the clock says."""
    total = hashlib.sha256()

    def add(item: Any) -> None:
        if isinstance(item, Tensor):
            total.update(item.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        elif isinstance(item, dict):
            for key in item:
                if key not in TIMES:
                    total.update(str(key).encode())
                    add(item[key])
        elif isinstance(item, list | tuple):
            for part in item:
                add(part)
        else:
            total.update(repr(item).encode())

    add(value)
    return total.hexdigest()


def final(trainer: Trainer) -> dict[str, Any]:
    saved, _, damaged = checkpoint.newest(trainer.folder)
    assert saved is not None
    assert not damaged
    return saved


def test_a_stage_learns_and_reports_its_row(make: Make, tmp_path: Path) -> None:
    trainer, recorder = start(make(epochs=12, training={"learning_rate": 0.01}), tmp_path)
    row = trainer.run()
    steps = recorder.of("step")
    assert steps[-1]["step"] == steps[-1]["steps"] == 72
    cosines = [e["metrics"]["cosine"] for e in recorder.of("evaluation")]
    assert cosines[-1] > 0.3 > cosines[0]
    assert row["dimensions"] == [4, 4, 4]
    assert row["samples"] == 72 * 16
    assert row["primary"] == "bleu"
    assert {"bleu", "cosine", "exact", "nearest_bleu"} <= set(row["metrics"])
    assert row["mean_abs_change"] > 0
    assert row["clusterings"] == 12
    assert Path(row["checkpoint"]).exists()
    assert len(recorder.of("clustering")) == len(recorder.of("morphology")) == 12
    assert (
        "below 6" in recorder.of("morphology")[0]["reason"]
        or not (recorder.of("morphology")[0]["tested"])
    )


@pytest.mark.parametrize("stop_after", [1, 5, 6, 9])
def test_an_interrupted_stage_resumes_to_the_same_bits(
    make: Make, tmp_path: Path, stop_after: int
) -> None:
    resolved = make(plasticity={"persist_traces": True})
    whole, _ = start(resolved, tmp_path / "whole")
    row = whole.run()
    first, _ = start(resolved, tmp_path / "cut", stop_after)
    with pytest.raises(Interrupted):
        first.run()
    second, recorder = start(resolved, tmp_path / "cut")
    assert recorder.of("stage_start")[0]["step"] == stop_after
    resumed = second.run()
    assert digest(final(second)) == digest(final(whole))
    assert resumed["metrics"] == row["metrics"]
    assert resumed["mean_abs_change"] == row["mean_abs_change"]


def test_accumulated_micro_batches_are_one_batch(make: Make, tmp_path: Path) -> None:
    """The effective batch, its gradient and its plasticity do not depend on the micro-batch."""
    at_once, _ = start(make(epochs=1), tmp_path / "a")
    in_parts, _ = start(make({"micro_batch": 4, "accumulation": 4}, epochs=1), tmp_path / "b")
    order = list(range(16))
    at_once._step(order)
    in_parts._step(order)
    a, b = at_once.machine, in_parts.machine
    torch.testing.assert_close(
        a.network.connections.strength, b.network.connections.strength, rtol=1e-5, atol=1e-6
    )
    assert at_once.totals.cosine == pytest.approx(in_parts.totals.cosine or 0, abs=1e-5)


def test_without_plasticity_no_strength_moves(make: Make, tmp_path: Path) -> None:
    trainer, _ = start(make(plasticity={"enable_plasticity": False}), tmp_path)
    before = trainer.machine.network.connections.strength.clone()
    row = trainer.run()
    assert torch.equal(trainer.machine.network.connections.strength, before)
    assert row["mean_abs_change"] is None


def test_pruned_connections_stay_pruned_and_strengths_in_bounds(make: Make, tmp_path: Path) -> None:
    trainer, _ = start(make(lattice={"connection_density": 0.3}), tmp_path)
    exists = trainer.machine.network.connections.exists.clone()
    trainer.run()
    after = trainer.machine.network.connections
    assert torch.equal(after.exists, exists)
    assert after.strength.min() >= 0.1
    assert after.strength.max() <= 2.0


def test_the_next_stage_grows_from_the_last(make: Make, tmp_path: Path) -> None:
    small, _ = start(make(epochs=8, training={"learning_rate": 0.01}), tmp_path / "small")
    row = small.run()
    bigger = {"dimensions": [6, 5, 5], "connection_density": 0.5}
    grown, recorder = start(
        make(start_from=row["checkpoint"], stage=4, lattice=bigger), tmp_path / "grown"
    )
    assert recorder.of("stage_start")[0]["grown_from"] == [4, 4, 4]
    rule = zip(
        grown.machine.network.rule.parameters(),
        small.machine.network.rule.parameters(),
        strict=True,
    )
    assert all(torch.equal(a, b) for a, b in rule)
    fresh, _ = start(make(stage=4, lattice=bigger), tmp_path / "fresh")
    warm = grown._evaluate(0, 0).metrics["cosine"]
    cold = fresh._evaluate(0, 0).metrics["cosine"]
    assert warm > cold + 0.05


def test_a_rule_of_another_width_is_not_grown_from(make: Make, tmp_path: Path) -> None:
    row = start(make(epochs=1), tmp_path / "a")[0].run()
    with pytest.raises(CheckpointError, match=r"lattice\.channels"):
        start(make(start_from=row["checkpoint"], lattice={"channels": 8}), tmp_path / "b")


@pytest.mark.parametrize("harm", ["truncate", "flip", "manifest", "future"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_used(
    make: Make, tmp_path: Path, harm: str
) -> None:
    resolved = make(training={"checkpoint_every": 0})
    with pytest.raises(Interrupted):
        start(resolved, tmp_path, 4)[0].run()
    newest = sorted(tmp_path.glob("checkpoints/step-*.pt"))[-1]
    content = bytearray(newest.read_bytes())
    if harm == "truncate":
        newest.write_bytes(content[: len(content) // 2])
    elif harm == "flip":
        content[len(content) // 2] ^= 1
        newest.write_bytes(content)
    elif harm == "manifest":
        newest.with_suffix(".json").write_text("{")
    else:
        manifest = newest.with_suffix(".json")
        manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 99'))
    trainer, recorder = start(resolved, tmp_path)
    assert trainer.totals.step == 3
    assert newest.name in recorder.of("log")[0]["message"]


def test_only_the_newest_checkpoints_are_kept(make: Make, tmp_path: Path) -> None:
    start(make(training={"checkpoint_every": 0, "keep_checkpoints": 3}), tmp_path)[0].run()
    assert len(list(tmp_path.glob("checkpoints/*.pt"))) == 3
    assert len(list(tmp_path.glob("checkpoints/*.json"))) == 3


def test_a_checkpoint_cannot_execute_anything(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "executed",))

    path, _ = checkpoint.save(tmp_path, {"rule": 1}, step=1, keep=1)
    torch.save({"rule": Evil()}, path)
    facts = path.with_suffix(".json")
    text = facts.read_text()
    manifest = json.loads(text)
    manifest["bytes"] = path.stat().st_size
    manifest["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    facts.write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoint.load(path)
    assert not (tmp_path / "executed").exists()


def test_a_lattice_in_which_nothing_spikes_fails_loudly(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cell_train.training.adaptation.DEAD_STEPS", 5)
    trainer, _ = start(make(activity_threshold=1e6), tmp_path / "a")
    with pytest.raises(DeadStart, match="lower activity_threshold"):
        trainer.run()
    calm, _ = start(make(activity_threshold=1e6, plasticity_profile="freeze"), tmp_path / "b")
    calm.run()


def test_steps_that_are_not_finite_change_nothing_and_end_the_stage(
    make: Make, tmp_path: Path
) -> None:
    trainer, recorder = start(make(epochs=4), tmp_path)
    with torch.no_grad():
        trainer.machine.task.faces.leave.fill_(math.nan)
    before = trainer.machine.network.connections.strength.clone()
    rule = trainer.machine.network.rule.kernel.clone()
    with pytest.raises(Diverged, match="learning_rate"):
        trainer.run()
    assert torch.equal(trainer.machine.network.connections.strength, before)
    assert torch.equal(trainer.machine.network.rule.kernel, rule)
    assert len(recorder.of("log")) == 10


@pytest.mark.parametrize("encoder", ["vsa", "learned"])
def test_objective_text_trains_the_lattice_through_the_decoder(
    make: Make, tmp_path: Path, encoder: str
) -> None:
    resolved = make(objective="text", text={"encoder": encoder}, epochs=6)
    trainer, recorder = start(resolved, tmp_path)
    kernel = trainer.machine.network.rule.kernel.clone()
    trainer.run()
    assert not torch.equal(trainer.machine.network.rule.kernel, kernel)
    losses = [e["loss"] for e in recorder.of("step")]
    assert losses[-1] < losses[0]


def test_under_objective_embedding_the_decoder_does_not_touch_the_lattice(
    make: Make, tmp_path: Path
) -> None:
    trainer, _ = start(make(), tmp_path)
    batch = next(iter(trainer.machine.task.batches("train", list(range(8)), 8)))
    y, _ = trainer._present(batch)
    trainer.machine.task.decoder.loss(y.detach(), batch.target).backward()
    assert trainer.machine.network.rule.kernel.grad is None
    loss, _ = trainer.machine.task.score(y, batch)
    y.retain_grad()
    loss.backward()
    cosine_only = y.grad
    y2, _ = trainer._present(batch)
    y2.retain_grad()
    (1 - trainer.machine.task._cosine(y2, batch.target).mean()).backward()
    assert cosine_only is not None
    assert y2.grad is not None
    torch.testing.assert_close(cosine_only, y2.grad)


def test_a_task_that_leads_nowhere_is_named(make: Make, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no_such_module"):
        start(make(task="no_such_module:Task"), tmp_path)


def test_float16_scales_its_loss_and_learns(make: Make, tmp_path: Path) -> None:
    trainer, recorder = start(make({"precision": "fp16"}, epochs=6), tmp_path)
    assert trainer.machine.scaler.is_enabled()
    row = trainer.run()
    losses = [e["loss"] for e in recorder.of("step")]
    assert losses[-1] < losses[0]
    assert row["status"] == "completed"
    assert final(trainer)["scaler"]["scale"] == 2.0**12


def test_a_gradient_that_overflows_float16_halves_the_scale_and_changes_nothing(
    make: Make, tmp_path: Path
) -> None:
    trainer, recorder = start(make({"precision": "fp16"}), tmp_path)
    kernel = trainer.machine.network.rule.kernel
    before = kernel.detach().clone()
    overflow = kernel.register_hook(lambda gradient: gradient * math.inf)
    trainer._step(list(range(16)))
    assert torch.equal(kernel, before)
    assert trainer.machine.scaler.get_scale() == 2.0**11
    assert len(recorder.of("log")) == 1
    overflow.remove()
    trainer._step(list(range(16)))
    assert not torch.equal(kernel, before)
