"""One stage: epochs of steps, each an optimizer step and then a plastic one."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cell_train.config.schema import ResolvedStage
from cell_train.errors import Diverged, NotSaved
from cell_train.plasticity.update import Outcome
from cell_train.tasks.base import Batch, Evaluation
from cell_train.training import checkpoint
from cell_train.training.counters import Interrupted, Totals
from cell_train.training.pattern_storage import stored
from cell_train.training.plasticity_step import (
    Adaptation,
    accept,
    observe,
    observed,
    propose,
    watch,
)
from cell_train.training.rng import epoch_order
from cell_train.training.state import Machine, interpreting, restore, state
from cell_train.training.telemetry import emit as telling
from cell_train.training.telemetry import metrics as figures

Emit = Callable[..., None]
"""emit(kind, **fields): one event to the parent."""

BAD_STEPS = 10  # in a row, not finite and so not applied, before the stage is rolled back
ROLLBACKS = 3  # of a stage, each halving the learning rate
BREATH = 10.0  # seconds between signs of life to the parent while nothing else is to be told


@dataclass
class Trainer:
    """A stage in training: the machine, its plastic side, its counters, and who listens."""

    resolved: ResolvedStage
    machine: Machine
    folder: Path  # of the checkpoints
    emit: Emit
    should_stop: Callable[[], bool]
    adaptation: Adaptation = field(default_factory=Adaptation)
    totals: Totals = field(default_factory=Totals)
    _last_save: float = field(default_factory=time.monotonic)
    last_path: Path | None = None  # of the newest checkpoint
    _last_report: float = 0.0
    _last_breath: float = 0.0
    _started: float = field(default_factory=time.monotonic)

    @property
    def steps_per_epoch(self) -> int:
        take = min(self.resolved.execution.samples_per_epoch, self.machine.task.size("train"))
        return max(take // self.resolved.stage.batch_size, 1)

    @property
    def steps(self) -> int:
        return self.steps_per_epoch * self.resolved.stage.epochs

    def resume(self, saved: dict[str, Any]) -> None:
        """Continue from a checkpoint of this stage. Raises CheckpointError if it is not that."""
        with interpreting():
            totals = Totals(**saved["totals"])
            if saved["stage"] != self.resolved.stage.stage or totals.step < 0:
                raise ValueError(f"it is of stage {saved['stage']}, step {totals.step}")
            adaptation = Adaptation.restored(saved["adaptation"])
        restore(self.machine, saved)
        self.adaptation, self.totals = adaptation, totals

    def run(self) -> dict[str, Any]:
        """Train to the end; the stage's row of the summary.

        Raises Interrupted after a checkpoint when asked to stop, Diverged and DeadStart.
        """
        stage = self.resolved.stage
        self._started = time.monotonic() - self.totals.seconds
        if self.last_path is None:
            telling.strengths(self, 0)
            self._try_to_save()  # something to roll back to, and a first look at the disk
        if self.should_stop():
            raise Interrupted(self.last_path)
        while self.totals.step < self.steps:
            epoch = self.totals.step // self.steps_per_epoch
            if self.totals.step % self.steps_per_epoch == 0:
                telling.structure(self, epoch)
            order = epoch_order(
                self.machine.task.size("train"),
                self.steps_per_epoch * stage.batch_size,
                *(stage.seed, stage.stage, "order", epoch),
            )
            self._run_epoch(epoch, order)
        evaluation = self._evaluate(stage.epochs - 1, 0)
        scores = self.scores(evaluation)
        emergence = telling.emergence(self, scores)
        path = self._save_last(scores.get(self.machine.task.primary))
        telling.portrait(self)
        return figures.row(self, evaluation, path) | {"emergence": emergence}

    def _run_epoch(self, epoch: int, order: Tensor) -> None:
        stage = self.resolved.stage
        last = (epoch + 1) * self.steps_per_epoch
        every = stage.monitor.monitor_every or last
        save_every = stage.training.checkpoint_every
        while self.totals.step < last:
            first = self.totals.step % self.steps_per_epoch * stage.batch_size
            self._step(order[first : first + stage.batch_size].tolist())
            if self.totals.bad_steps >= BAD_STEPS:
                self._roll_back()
                return
            self._report(epoch)
            # Before any checkpoint, so that none lies between a step and what belongs to it; the
            # stage itself ends with a full evaluation.
            step = self.totals.step
            if (step % every == 0 or step == last) and step < self.steps:
                self._keep_if_best(self._evaluate(epoch, stage.monitor.evaluate))
            if self.should_stop():
                self._try_to_save()
                raise Interrupted(self.last_path)
            # none amid steps that are not applied: a rollback must lead to before them
            if time.monotonic() - self._last_save >= save_every and not self.totals.bad_steps:
                self._try_to_save()

    def _step(self, samples: list[int]) -> None:
        """One optimizer step on `samples`, then one plastic step on what the cells did."""
        stage, machine, totals = self.resolved.stage, self.machine, self.totals
        loss, cosine, outcome = 0.0, 0.0, None
        for batch in machine.task.batches("train", samples, self.resolved.execution.micro_batch):
            share = batch.size / len(samples)
            part, part_cosine, outcome = self._learn(batch, share)
            loss += part * share
            cosine += part_cosine * share
        machine.scaler.unscale_(machine.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(machine.parameters(), stage.training.clip_norm)
        finite = math.isfinite(loss) and bool(torch.isfinite(norm)) and observed(self.adaptation)
        if finite and outcome is not None:
            watch(self.adaptation, outcome, stage)
        elif finite and machine.plastic_when == "step":
            outcome = propose(self.adaptation, machine, stage)
            finite = outcome is not None
        if finite:
            self._schedule()
            machine.scaler.step(machine.optimizer)
            if outcome is not None:
                if machine.plastic_when == "step":
                    accept(machine, outcome)
                totals.change += outcome.change
                totals.active = outcome.active
            totals.bad_steps = 0
            memory = min(1 - 1 / (totals.step + 1), 0.98)
            totals.loss = loss if totals.step == 0 else memory * totals.loss + (1 - memory) * loss
            totals.cosine = None if math.isnan(cosine) else cosine
        else:
            self._skip(loss)
        machine.scaler.update()
        machine.optimizer.zero_grad(set_to_none=True)
        if machine.network.credit is not None:
            machine.network.credit.zero_()
        totals.step += 1
        totals.samples += len(samples)
        totals.seconds = time.monotonic() - self._started

    def _learn(self, batch: Batch, share: float) -> tuple[float, float, Outcome | None]:
        """Add a micro-batch's gradients, keep its activity; its loss, cosine and what it stored."""
        stage, machine = self.resolved.stage, self.machine
        with stored(machine, batch, self.resolved.execution.micro_batch) as memory:
            y, activity = self._present(batch)
            loss, metrics = machine.task.score(y, batch)
            machine.scaler.scale(loss * share).backward()
        if machine.plastic_when == "step":
            observe(self.adaptation, activity, stage)
        return float(loss.detach()), metrics.get("cosine", math.nan), memory

    def _skip(self, loss: float) -> None:
        """A step whose loss, gradient, activity or strengths are not finite changes nothing."""
        self.adaptation.history.clear()
        self.totals.bad_steps += 1
        what = "" if math.isfinite(loss) else f": loss {loss}"
        self.emit("log", level="warning", message=f"step not applied, it is not finite{what}")

    def _roll_back(self) -> None:
        """Go on from the newest checkpoint before the bad steps, with half the learning rate.

        Raises Diverged when that has been done often enough, or there is none.
        """
        failed, rollbacks = self.totals.step, self.totals.rollbacks + 1
        scaler = self.machine.scaler.state_dict()  # the scale has fallen for a reason
        good = (saved for saved, _ in checkpoint.sound(self.folder, []) if _untroubled(saved))
        saved = next(good, None) if rollbacks <= ROLLBACKS else None
        if saved is None:
            raise Diverged(
                f"{BAD_STEPS} steps in a row were not finite, also after {rollbacks - 1} rollbacks"
                " to a checkpoint; lower training.learning_rate"
            )
        self.resume(saved)
        self.machine.scaler.load_state_dict(scaler)
        self.totals.rollbacks = rollbacks
        message = (
            f"{BAD_STEPS} steps in a row were not finite: rolled back from step {failed} to"
            f" {self.totals.step}, learning rates now {0.5**rollbacks:g} times as large"
        )
        self.emit("log", level="warning", message=message)
        self._try_to_save()  # so that a later resume does not go back behind this decision

    def _present(self, batch: Batch) -> tuple[Tensor, Tensor]:
        task = self.machine.task
        if time.monotonic() - self._last_breath >= BREATH:
            self._last_breath = time.monotonic()
            self.emit("alive")
        if self.resolved.stage.monitor.control == "bypass":
            return task.bypass(batch), torch.empty(0)
        cells, activity = self.machine.network(task.present(batch), task.write, batch.size)
        return task.read(cells), activity

    def _schedule(self) -> None:
        """Linear warm-up, then a cosine down to `final_learning_rate` of the start."""
        training, step = self.resolved.stage.training, self.totals.step
        warm = min((step + 1) / max(training.warmup_steps, 1), 1.0)
        wave = 0.5 * (1 + math.cos(math.pi * step / max(self.steps, 1)))
        factor = warm * (training.final_learning_rate + (1 - training.final_learning_rate) * wave)
        factor *= 0.5**self.totals.rollbacks
        for group in self.machine.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor

    def _examine(self, limit: int) -> Evaluation:
        """Score at most `limit` held-out samples (0: all)."""
        self.machine.task.eval()
        micro_batch = self.resolved.execution.micro_batch

        def respond(batch: Batch) -> Tensor:  # as many at a time as fit in training
            with stored(self.machine, batch, micro_batch):
                return torch.cat([self._present(part)[0] for part in batch.parts(micro_batch)])

        with torch.no_grad():
            evaluation: Evaluation = self.machine.task.evaluate(respond, limit)
        self.machine.task.train()
        return evaluation

    def scores(self, whole: Evaluation | None = None) -> dict[str, float]:
        """The task's metrics on the held-out samples that are scored while a stage trains.

        `whole` is an evaluation of all of them, which is not made again if that is what is asked.
        """
        limit = self.resolved.stage.monitor.evaluate
        some = 0 < limit < self.machine.task.size("held_out")
        metrics = (whole if whole and not some else self._examine(limit)).metrics
        return {name: round(value, 6) for name, value in metrics.items()}

    def _evaluate(self, epoch: int, limit: int) -> Evaluation:
        evaluation = self._examine(limit)
        metrics = {name: round(value, 6) for name, value in evaluation.metrics.items()}
        self.emit(
            "evaluation",
            epoch=epoch,
            step=self.totals.step,
            metrics=metrics,
            samples=[list(sample) for sample in evaluation.samples],
        )
        telling.strengths(self, epoch)
        return evaluation

    def _keep_if_best(self, evaluation: Evaluation) -> None:
        """A checkpoint now, if no evaluation before scored as high."""
        score = evaluation.metrics.get(self.machine.task.primary)
        if score is not None and (self.totals.best is None or score > self.totals.best):
            self.totals.best = score
            self._try_to_save(score)

    def _try_to_save(self, score: float | None = None) -> None:
        """Save; where the disk does not let it, say so and train on with the checkpoint before."""
        try:
            self._save(score)
        except OSError as error:
            self._last_save = time.monotonic()
            kept = f"{self.last_path.name} is kept" if self.last_path else "there is none yet"
            message = (
                f"checkpoint of step {self.totals.step} not saved in {self.folder}"
                f" ({error.strerror}); {kept}, training goes on"
            )
            self.emit("log", level="warning", message=message)

    def _save(self, score: float | None = None) -> Path:
        began = time.monotonic()
        self.totals.seconds = began - self._started
        path, size = checkpoint.save(
            self.folder,
            {
                "stage": self.resolved.stage.stage,
                **state(self.machine),
                "adaptation": self.adaptation.saved(),
                "totals": asdict(self.totals),
            },
            step=self.totals.step,
            keep=self.resolved.stage.training.keep_checkpoints,
            rollbacks=self.totals.rollbacks,
            score=score,
        )
        self._last_save, self.last_path = time.monotonic(), path
        self.emit(
            "checkpoint",
            epoch=self.totals.step // self.steps_per_epoch,
            step=self.totals.step,
            path=str(path),
            bytes=size,
            seconds=round(self._last_save - began, 4),
        )
        return path

    def _save_last(self, score: float | None) -> Path:
        """The stage's last checkpoint, without which it is not done."""
        try:
            return self._save(score)
        except OSError as error:
            raise NotSaved(
                f"the stage is trained, but its last checkpoint could not be saved in"
                f" {self.folder} ({error.strerror}); make room there and resume: it goes on from"
                f" {self.last_path.name if self.last_path else 'its start'}"
            ) from error

    def _report(self, epoch: int) -> None:
        now = time.monotonic()
        every = self.resolved.stage.monitor.log_every
        if now - self._last_report >= every or self.totals.step >= self.steps:
            self._last_report = now
            self.emit("step", epoch=epoch, **figures.progress(self))


def _untroubled(saved: dict[str, Any]) -> bool:
    """Whether a checkpoint was made while steps were finite."""
    return saved.get("totals", {}).get("bad_steps") == 0
