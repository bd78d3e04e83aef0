"""Nothing is lost: a stage resumes to the same bits, from whatever is left of it."""

import hashlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

from cell_train.config import resolve
from cell_train.errors import EXIT_TERMINATED, CheckpointError, Diverged, NotSaved
from cell_train.run_folder.paths import StageFiles
from cell_train.tasks.base import Evaluation
from cell_train.training import checkpoint
from cell_train.training.checkpoint import fingerprint
from cell_train.training.state import Interrupted
from cell_train.training.trainer import Trainer
from tests.training.conftest import Make, final, start


@pytest.mark.parametrize("stop_after", [1, 5, 6, 9])
def test_an_interrupted_stage_resumes_to_the_same_bits(
    make: Make, tmp_path: Path, stop_after: int
) -> None:
    resolved = make(plasticity={"persist_traces": True, "three_factor": {"rate": 0.8}})
    whole, _ = start(resolved, tmp_path / "whole")
    row: Any = whole.run()
    first, _ = start(resolved, tmp_path / "cut", stop_after)
    with pytest.raises(Interrupted):
        first.run()
    second, recorder = start(resolved, tmp_path / "cut")
    assert recorder.of("stage_start")[0]["step"] == stop_after
    resumed = second.run()
    assert fingerprint(final(second)) == fingerprint(final(whole))
    assert resumed.metrics == row.metrics
    assert resumed.mean_abs_change == row.mean_abs_change


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
    assert trainer.state.totals.step == 3
    assert newest.name in recorder.of("log")[0]["message"]


def test_the_newest_checkpoints_and_the_best_are_kept(make: Make, tmp_path: Path) -> None:
    resolved = make(training={"checkpoint_every": 0, "keep_checkpoints": 3}, epochs=3)
    row: Any = start(resolved, tmp_path)[0].run()
    names = {path.name for path in tmp_path.glob("checkpoints/*.pt")}
    newest = {f"step-{step:06d}.pt" for step in (16, 17, 18)}
    assert newest <= names
    assert names == newest | {Path(row.best_checkpoint).name}
    assert {path.stem for path in tmp_path.glob("checkpoints/*.json")} == {n[:-3] for n in names}


def test_the_best_is_chosen_by_scores_on_the_same_texts(make: Make, tmp_path: Path) -> None:
    resolved = make(epochs=2, monitor={"evaluate": 3})
    trainer, _ = start(resolved, tmp_path)
    scored = {3: 0.2, 0: 0.9}  # by how many texts are asked for; 0: all
    with mock.patch.object(
        trainer.state.model.task,
        "evaluate",
        lambda _, limit: Evaluation({"bleu": scored[limit]}, []),
    ):
        row = trainer.run()
    manifests = [json.loads(path.read_text()) for path in tmp_path.glob("checkpoints/*.json")]
    assert {facts["score"] for facts in manifests if "score" in facts} == {0.2}
    assert row.metrics == {"bleu": 0.9}


def test_the_best_checkpoint_outlives_newer_ones(tmp_path: Path) -> None:
    for step, score in enumerate((0.1, 0.3, 0.2, None, None)):
        checkpoint.save(tmp_path, {"step": step}, step=step, keep=2, score=score)
    left = sorted(path.name for path in tmp_path.glob("*.pt"))
    assert left == [f"step-{step:06d}.pt" for step in (1, 3, 4)]
    assert checkpoint.best(tmp_path) == tmp_path / "step-000001.pt"
    checkpoint.save(tmp_path, {"step": 1}, step=1, keep=1)  # saved again: its score stays
    assert checkpoint.best(tmp_path) == tmp_path / "step-000001.pt"


def test_what_a_killed_save_leaves_goes_with_the_next(tmp_path: Path) -> None:
    for name in (".step-000001.pt.77.tmp", "step-000001.pt"):
        (tmp_path / name).write_bytes(b"half")
    checkpoint.save(tmp_path, {"rule": 1}, step=2, keep=2)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"step-000002.pt", "step-000002.json"}


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


def test_steps_that_are_not_finite_change_nothing_and_end_the_stage(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, recorder = start(make(epochs=12), tmp_path)
    task = trainer.state.model.task
    monkeypatch.setattr(task, "score", lambda y, _: (y.sum() * math.nan, {}))
    before = trainer.state.model.network.connections.strength.clone()
    rule = trainer.state.model.network.rule.kernel.clone()
    with pytest.raises(Diverged, match="learning_rate"):
        trainer.run()
    assert torch.equal(trainer.state.model.network.connections.strength, before)
    assert torch.equal(trainer.state.model.network.rule.kernel, rule)
    messages = [event["message"] for event in recorder.of("log")]
    assert sum("not applied" in message for message in messages) == 40
    assert sum("rolled back" in message for message in messages) == 3


@pytest.mark.parametrize("where", ["loss", "gradient", "activity"])
def test_bad_steps_in_a_row_roll_back_to_a_smaller_learning_rate(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    resolved = make(epochs=4, training={"checkpoint_every": 0})
    trainer, _ = start(resolved, tmp_path)
    steps_seen: list[int] = []
    _poison(trainer, monkeypatch, where, range(7, 17), steps_seen)
    row: Any = trainer.run()
    assert steps_seen[:19] == [*range(17), 7, 8]  # back to before the first bad step, and on
    assert row.rollbacks == 1
    final_state = final(trainer)
    assert final_state["totals"]["rollbacks"] == 1
    assert torch.isfinite(final_state["connections"]["strength"]).all()
    rates = [group["lr"] / group["initial_lr"] for group in trainer.state.optimizer.param_groups]
    trainer.state.totals.step -= 1
    whole = trainer.job.schedule.factor(trainer.state.totals.step)
    assert rates == pytest.approx([whole / 2] * len(rates))
    again, _ = start(resolved, tmp_path)  # what went before the rollback is not gone back to
    assert again.state.totals.rollbacks == 1


def _poison(
    trainer: Trainer,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    bad: range,
    seen: list[int],
) -> None:
    """Make the steps in `bad` go wrong, the first time they come."""
    model, step_of = trainer.state.model, trainer.step
    score, network = model.task.score, model.network
    wrong = False

    def step(samples: list[int]) -> None:
        nonlocal wrong
        at = trainer.state.totals.step
        wrong = at in bad and at not in seen
        seen.append(at)
        step_of(samples)

    def scored(y: Any, batch: Any) -> Any:
        loss, metrics = score(y, batch)
        if wrong and where == "loss":
            loss = loss * math.inf
        if wrong and where == "gradient":
            loss = loss + (y * 0).sum().sqrt()  # 0 forward, not finite backward
        return loss, metrics

    def forward(*args: Any, **named: Any) -> Any:
        cells, activity = network_forward(*args, **named)
        return cells, activity * math.nan if wrong and where == "activity" else activity

    network_forward = network.forward
    monkeypatch.setattr(trainer, "step", step)
    monkeypatch.setattr(model.task, "score", scored)
    monkeypatch.setattr(network, "forward", forward)


def test_a_save_that_fails_leaves_what_was_there_and_training_goes_on(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved = make(training={"checkpoint_every": 0})
    with pytest.raises(Interrupted):
        start(resolved, tmp_path, 3)[0].run()
    before = {path.name: path.read_bytes() for path in tmp_path.glob("checkpoints/*")}

    def full(state: Any, stream: Any) -> None:
        stream.write(b"half a checkpoint")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    trainer, recorder = start(resolved, tmp_path)
    with pytest.raises(NotSaved, match=r"No space left on device.*step-000003.pt"):
        trainer.run()
    assert trainer.state.totals.step == 12
    assert "step-000003.pt is kept, training goes on" in recorder.of("log")[0]["message"]
    assert {path.name: path.read_bytes() for path in tmp_path.glob("checkpoints/*")} == before


def test_a_worker_whose_parent_is_gone_saves_the_step_it_is_at(make: Make, tmp_path: Path) -> None:
    resolved = make(epochs=1000, monitor={"log_every": 0})
    path, read, write = tmp_path / "resolved.yaml", *os.pipe()
    path.write_text(resolve.write(resolved))
    words = [sys.executable, "-m", "cell_train.training.worker", str(path)]
    worker = subprocess.Popen(
        [*words, "--events-fd", str(write)],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=(write,),
        start_new_session=True,
    )
    os.close(write)
    with os.fdopen(read) as stream:
        next(line for line in stream if '"event": "step"' in line)
    _, said = worker.communicate()  # with that both pipes are closed
    assert worker.returncode == EXIT_TERMINATED
    assert b"Traceback" not in said
    saved, _, _ = checkpoint.newest(StageFiles(tmp_path).checkpoints)
    assert saved is not None
    assert saved["totals"]["step"] > 0


@pytest.mark.parametrize("harm", ["wiring", "shape", "other stage", "nan", "totals"])
def test_a_sound_file_that_is_no_state_of_this_stage_is_skipped_and_named(
    make: Make, tmp_path: Path, harm: str
) -> None:
    resolved = make(training={"checkpoint_every": 0})
    with pytest.raises(Interrupted):
        start(resolved, tmp_path, 4)[0].run()
    state = final(start(resolved, tmp_path)[0])
    if harm == "wiring":
        state["connections"]["start"] += 10**9  # the compiled step would follow it anywhere
    elif harm == "shape":
        state["rule"]["kernel"] = torch.zeros(1, 26)
    elif harm == "other stage":
        state["stage"] = 9
    elif harm == "nan":
        state["rule"]["kernel"][0] = math.nan
    else:
        state["totals"] = {"step": "many"}
    checkpoint.save(tmp_path / "checkpoints", state, step=5, keep=9)
    trainer, recorder = start(resolved, tmp_path)
    assert trainer.state.totals.step == 4
    assert "step-000005.pt" in recorder.of("log")[0]["message"]
