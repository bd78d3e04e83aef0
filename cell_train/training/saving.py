"""Checkpoints of a stage in training: when they are saved, and the way back to one."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cell_train.errors import Diverged, NotSaved
from cell_train.events.kinds import CheckpointSaved, Log
from cell_train.training import checkpoint
from cell_train.training.construction.saved import restore
from cell_train.training.state import Job, State, as_saved

BAD_STEPS = 10  # in a row, not finite and so not applied, before the stage is rolled back
ROLLBACKS = 3  # of a stage, each halving the learning rate


@dataclass
class Saver:
    """Saves a stage's checkpoints, and knows the newest."""

    job: Job
    newest: Path | None = None
    _last: float = field(default_factory=time.monotonic)

    def due(self) -> bool:
        """Whether `training.checkpoint_every` seconds have gone by since one was saved."""
        return time.monotonic() - self._last >= self.job.stage.training.checkpoint_every

    def save(self, state: State, score: float | None = None) -> Path:
        """Write a checkpoint; `score` is an evaluation's. Raises OSError as the file system does"""
        began, job, totals = time.monotonic(), self.job, state.totals
        totals.seconds = job.seconds()
        path, size = checkpoint.save(
            job.folder,
            as_saved(state, job.stage.stage),
            step=totals.step,
            keep=job.stage.training.keep_checkpoints,
            rollbacks=totals.rollbacks,
            score=score,
        )
        self._last, self.newest = time.monotonic(), path
        job.emit(
            CheckpointSaved(
                epoch=totals.step // job.schedule.steps_per_epoch,
                step=totals.step,
                path=str(path),
                bytes=size,
                seconds=round(self._last - began, 4),
            )
        )
        return path

    def try_to_save(self, state: State, score: float | None = None) -> None:
        """Save; where the disk does not let it, say so and train on with the checkpoint before."""
        try:
            self.save(state, score)
        except OSError as error:
            self._last = time.monotonic()
            kept = f"{self.newest.name} is kept" if self.newest else "there is none yet"
            message = (
                f"checkpoint of step {state.totals.step} not saved in {self.job.folder}"
                f" ({error.strerror}); {kept}, training goes on"
            )
            self.job.emit(Log(level="warning", message=message))

    def save_last(self, state: State, score: float | None) -> Path:
        """The stage's last checkpoint, without which it is not done. Raises NotSaved."""
        try:
            return self.save(state, score)
        except OSError as error:
            raise NotSaved(
                f"the stage is trained, but its last checkpoint could not be saved in"
                f" {self.job.folder} ({error.strerror}); make room there and resume: it goes on"
                f" from {self.newest.name if self.newest else 'its start'}"
            ) from error

    def keep_if_best(self, state: State, score: float | None) -> None:
        """A checkpoint now, if no evaluation before scored as high."""
        if score is not None and (state.totals.best is None or score > state.totals.best):
            state.totals.best = score
            self.try_to_save(state, score)


def roll_back(state: State, job: Job, saver: Saver) -> None:
    """Go on from the newest checkpoint before the bad steps, with half the learning rate.

    Raises Diverged when that has been done often enough, or there is none.
    """
    failed, rollbacks = state.totals.step, state.totals.rollbacks + 1
    scaler = state.scaler.state_dict()  # the scale has fallen for a reason
    good = (saved for saved, _ in checkpoint.sound(job.folder, []) if _untroubled(saved))
    saved = next(good, None) if rollbacks <= ROLLBACKS else None
    if saved is None:
        raise Diverged(
            f"{BAD_STEPS} steps in a row were not finite, also after {rollbacks - 1} rollbacks"
            " to a checkpoint; lower training.learning_rate"
        )
    restore(state, saved, job.stage.stage)
    state.scaler.load_state_dict(scaler)
    state.totals.rollbacks = rollbacks
    message = (
        f"{BAD_STEPS} steps in a row were not finite: rolled back from step {failed} to"
        f" {state.totals.step}, learning rates now {0.5**rollbacks:g} times as large"
    )
    job.emit(Log(level="warning", message=message))
    saver.try_to_save(state)  # so that a later resume does not go back behind this decision


def _untroubled(saved: dict[str, Any]) -> bool:
    """Whether a checkpoint was made while steps were finite."""
    return saved.get("totals", {}).get("bad_steps") == 0
