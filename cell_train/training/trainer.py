"""One stage: epochs of steps, each an optimizer step and then a plastic one."""

import math
import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor

from cell_train.config.schema import ResolvedStage
from cell_train.errors import Diverged
from cell_train.tasks.task import Batch, Evaluation
from cell_train.training import checkpoint
from cell_train.training.adaptation import (
    Adaptation,
    adapt,
    inspect_structure,
    observe,
    refresh_clusters,
)
from cell_train.training.build import Machine, restore, state
from cell_train.training.seeds import epoch_order

Emit = Callable[..., None]
"""emit(kind, **fields): one event to the parent."""

BAD_STEPS = 10  # steps in a row with a loss or gradient that is not finite


@dataclass
class Totals:
    """What a stage adds up over its steps; saved, so that a resumed stage reports the whole."""

    step: int = 0
    samples: int = 0
    seconds: float = 0.0
    loss: float = 0.0  # running mean with a memory of about 50 steps
    cosine: float | None = None
    change: float = 0.0  # sum over steps of the mean absolute change of a strength
    active: float = 0.0
    bad_steps: int = 0  # in a row
    evaluations: list[dict[str, float]] = field(default_factory=list)


class Interrupted(Exception):
    """Asked to stop; the checkpoint is written."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.path = path


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
    _last_report: float = 0.0
    _started: float = field(default_factory=time.monotonic)

    @property
    def steps_per_epoch(self) -> int:
        take = min(self.resolved.execution.samples_per_epoch, self.machine.task.size("train"))
        return max(take // self.resolved.stage.batch_size, 1)

    @property
    def steps(self) -> int:
        return self.steps_per_epoch * self.resolved.stage.epochs

    def resume(self, saved: dict[str, Any]) -> None:
        """Continue from a checkpoint of this stage."""
        restore(self.machine, saved)
        self.adaptation = Adaptation.restored(saved["adaptation"])
        self.totals = Totals(**saved["totals"])

    def run(self) -> dict[str, Any]:
        """Train to the end; the stage's row of the summary.

        Raises Interrupted after a checkpoint when asked to stop, Diverged and DeadStart.
        """
        stage = self.resolved.stage
        self._started = time.monotonic() - self.totals.seconds
        while self.totals.step < self.steps:
            epoch = self.totals.step // self.steps_per_epoch
            if self.totals.step % self.steps_per_epoch == 0:
                self._begin_epoch(epoch)
            order = epoch_order(
                self.machine.task.size("train"),
                self.steps_per_epoch * stage.batch_size,
                *(stage.seed, stage.stage, "order", epoch),
            )
            self._run_epoch(epoch, order)
        evaluation = self._evaluate(stage.epochs - 1, 0)
        path = self._save()
        return self._row(evaluation, path)

    def _begin_epoch(self, epoch: int) -> None:
        plasticity = self.resolved.stage.plasticity
        stage = self.resolved.stage
        if (
            plasticity.enable_clustering
            and epoch % plasticity.clustering_config.update_frequency == 0
        ):
            found = refresh_clusters(self.adaptation, self.machine, stage, epoch)
            self.emit("clustering", epoch=epoch, **found)
        if plasticity.emergence_config.morphology_tracking:
            self.emit("morphology", epoch=epoch, **inspect_structure(self.machine, stage))

    def _run_epoch(self, epoch: int, order: list[int]) -> None:
        stage = self.resolved.stage
        last = (epoch + 1) * self.steps_per_epoch
        every = stage.monitor.monitor_every or last
        while self.totals.step < last:
            first = self.totals.step % self.steps_per_epoch * stage.batch_size
            self._step(order[first : first + stage.batch_size])
            self._report(epoch)
            # Before any checkpoint, so that none lies between a step and what belongs to it; the
            # stage itself ends with a full evaluation.
            step = self.totals.step
            if (step % every == 0 or step == last) and step < self.steps:
                self._evaluate(epoch, stage.monitor.evaluate)
            if self.should_stop():
                raise Interrupted(self._save())
            if time.monotonic() - self._last_save >= stage.training.checkpoint_every:
                self._save()

    def _step(self, samples: list[int]) -> None:
        """One optimizer step on `samples`, then one plastic step on what the cells did."""
        stage, machine, totals = self.resolved.stage, self.machine, self.totals
        machine.optimizer.zero_grad(set_to_none=True)
        loss, cosine = 0.0, 0.0
        for batch in machine.task.batches("train", samples, self.resolved.execution.micro_batch):
            y, activity = self._present(batch)
            part, metrics = machine.task.score(y, batch)
            share = batch.size / len(samples)
            machine.scaler.scale(part * share).backward()
            loss += float(part.detach()) * share
            cosine += metrics.get("cosine", math.nan) * share
            if stage.plasticity.enable_plasticity:
                observe(self.adaptation, activity, stage)
        machine.scaler.unscale_(machine.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(machine.parameters(), stage.training.clip_norm)
        if math.isfinite(loss) and bool(torch.isfinite(norm)):
            self._schedule()
            machine.scaler.step(machine.optimizer)
            if stage.plasticity.enable_plasticity:
                outcome = adapt(self.adaptation, machine, stage)
                totals.change += outcome.change
                totals.active = outcome.active
            totals.bad_steps = 0
            memory = min(1 - 1 / (totals.step + 1), 0.98)
            totals.loss = loss if totals.step == 0 else memory * totals.loss + (1 - memory) * loss
            totals.cosine = None if math.isnan(cosine) else cosine
        else:
            self._skip(loss)
        machine.scaler.update()
        totals.step += 1
        totals.samples += len(samples)
        totals.seconds = time.monotonic() - self._started

    def _skip(self, loss: float) -> None:
        """A step whose loss or gradient is not finite changes nothing."""
        self.adaptation.history.clear()
        self.totals.bad_steps += 1
        self.emit("log", level="warning", message=f"step skipped: loss {loss}, not finite")
        if self.totals.bad_steps >= BAD_STEPS:
            raise Diverged(
                f"{BAD_STEPS} steps in a row gave a loss or gradient that is not finite;"
                " lower training.learning_rate"
            )

    def _present(self, batch: Batch) -> tuple[Tensor, Tensor]:
        task = self.machine.task
        cells, activity = self.machine.network(task.present(batch), task.write, batch.size)
        return task.read(cells), activity

    def _schedule(self) -> None:
        """Linear warm-up, then a cosine down to `final_learning_rate` of the start."""
        training, step = self.resolved.stage.training, self.totals.step
        warm = min((step + 1) / max(training.warmup_steps, 1), 1.0)
        wave = 0.5 * (1 + math.cos(math.pi * step / max(self.steps, 1)))
        factor = warm * (training.final_learning_rate + (1 - training.final_learning_rate) * wave)
        for group in self.machine.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor

    def _evaluate(self, epoch: int, limit: int) -> Evaluation:
        self.machine.task.eval()
        with torch.no_grad():
            evaluation: Evaluation = self.machine.task.evaluate(
                lambda batch: self._present(batch)[0], limit
            )
        self.machine.task.train()
        metrics = {name: round(value, 6) for name, value in evaluation.metrics.items()}
        self.totals.evaluations.append(metrics)
        self.emit(
            "evaluation",
            epoch=epoch,
            step=self.totals.step,
            metrics=metrics,
            samples=[list(sample) for sample in evaluation.samples],
        )
        return evaluation

    def _save(self) -> Path:
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
        )
        self._last_save = time.monotonic()
        self.emit(
            "checkpoint",
            epoch=self.totals.step // self.steps_per_epoch,
            step=self.totals.step,
            path=str(path),
            bytes=size,
            seconds=round(self._last_save - began, 4),
        )
        return path

    def _report(self, epoch: int) -> None:
        now = time.monotonic()
        totals, monitor = self.totals, self.resolved.stage.monitor
        if now - self._last_report < monitor.log_every and totals.step < self.steps:
            return
        self._last_report = now
        cells = self.machine.network.connections.cells
        rate = totals.step / max(totals.seconds, 1e-9)
        self.emit(
            "step",
            epoch=epoch,
            step=totals.step,
            steps=self.steps,
            loss=_finite(totals.loss),
            cosine=_finite(totals.cosine),
            cells_per_second=round(
                cells * self.machine.network.ticks * totals.samples / max(totals.seconds, 1e-9)
            ),
            active=round(totals.active, 4),
            change=totals.change / max(totals.step, 1),
            memory_bytes=_memory_now(self.machine.device),
            seconds_left=round((self.steps - totals.step) / rate, 1),
        )

    def _row(self, evaluation: Evaluation, path: Path) -> dict[str, Any]:
        stage, totals = self.resolved.stage, self.totals
        wiring = self.machine.network.connections
        plastic = stage.plasticity.enable_plasticity
        return {
            "status": "completed",
            "dimensions": list(wiring.dimensions),
            "connection_density": stage.lattice.connection_density,
            "plasticity_profile": stage.plasticity_profile,
            "epochs": stage.epochs,
            "samples": totals.samples,
            "seconds": round(time.monotonic() - self._started, 3),
            "peak_bytes": _memory_peak(self.machine.device),
            "loss": _finite(totals.loss),
            "primary": self.machine.task.primary,
            "metrics": {name: _finite(value) for name, value in evaluation.metrics.items()},
            "clusters": self.adaptation.clusters,
            "clusterings": self.adaptation.clusterings if self.adaptation.clusterings else None,
            "mean_abs_change": totals.change / max(totals.step, 1) if plastic else None,
            "checkpoint": str(path),
        }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _memory_now(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return int(psutil.Process().memory_info().rss)


def _memory_peak(device: torch.device) -> int:
    """Peak allocated memory on a GPU, peak resident memory of the process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
