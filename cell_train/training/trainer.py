"""One stage: epochs of steps, each an optimizer step and then a plastic one."""

from dataclasses import dataclass

from torch import Tensor

from cell_train.events.kinds import StageEnd
from cell_train.tasks.base import Evaluation
from cell_train.training import step
from cell_train.training.saving import BAD_STEPS, Saver, roll_back
from cell_train.training.schedule import Interval, epoch_samples
from cell_train.training.state import Interrupted, Job, State
from cell_train.training.telemetry import emergence, emit, evaluation, metrics


@dataclass
class Trainer:
    """The loop that trains a stage: `state` is what it changes, `job` what it goes by."""

    job: Job
    state: State
    saver: Saver

    def run(self) -> StageEnd:
        """Train to the end; the stage's row of the summary.

        Raises Interrupted after a checkpoint when asked to stop, Diverged and DeadStart.
        """
        job, state, per_epoch = self.job, self.state, self.job.schedule.steps_per_epoch
        reports = Interval(job.stage.monitor.log_every)
        self._begin()
        while state.totals.step < job.schedule.steps:
            epoch = state.totals.step // per_epoch
            if state.totals.step % per_epoch == 0:
                emit.structure(state, job, epoch)
            size = state.model.task.size("train")
            self._run_epoch(epoch, epoch_samples(job.stage, job.schedule, size, epoch), reports)
        return self._finish()

    def step(self, samples: list[int]) -> None:
        """One step on these training samples."""
        step.step(self.state, self.job, samples)

    def evaluate(self, epoch: int, limit: int) -> Evaluation:
        """Score at most `limit` held-out samples (0: all), and tell it."""
        return evaluation.evaluate(self.state, self.job, epoch, limit)

    def _begin(self) -> None:
        if self.saver.newest is None:
            emit.strengths(self.state, self.job, 0)
            # something to roll back to, and a first look at the disk
            self.saver.try_to_save(self.state)
        if self.job.should_stop():
            raise Interrupted(self.saver.newest)

    def _run_epoch(self, epoch: int, order: Tensor, reports: Interval) -> None:
        """The steps that an epoch still has, or up to a rollback, perhaps into another epoch."""
        job, state = self.job, self.state
        size, per_epoch = job.stage.batch_size, job.schedule.steps_per_epoch
        while state.totals.step < (epoch + 1) * per_epoch:
            first = state.totals.step % per_epoch * size
            self.step(order[first : first + size].tolist())
            if state.totals.bad_steps >= BAD_STEPS:
                roll_back(state, job, self.saver)
                return
            self._after_step(epoch, reports)

    def _after_step(self, epoch: int, reports: Interval) -> None:
        job, state, done = self.job, self.state, self.state.totals.step
        last = (epoch + 1) * job.schedule.steps_per_epoch
        if reports.due() or done >= job.schedule.steps:
            job.emit(metrics.progress(state, job, epoch))
        # Before any checkpoint, so that none lies between a step and what belongs to it; the
        # stage itself ends with a full evaluation.
        every = job.stage.monitor.monitor_every or last
        if (done % every == 0 or done == last) and done < job.schedule.steps:
            limit = job.stage.monitor.evaluate or state.model.task.size("held_out")
            found = self.evaluate(epoch, limit)
            self.saver.keep_if_best(state, found.metrics.get(state.model.task.primary))
        if job.should_stop():
            self.saver.try_to_save(state)
            raise Interrupted(self.saver.newest)
        # none amid steps that are not applied: a rollback must lead to before them
        if self.saver.due() and not state.totals.bad_steps:
            self.saver.try_to_save(state)

    def _finish(self) -> StageEnd:
        """What a stage leaves behind: scores on all held-out samples, figures, a checkpoint."""
        job, state = self.job, self.state
        found = self.evaluate(job.stage.epochs - 1, 0)
        scores = evaluation.scores(state.model, job, found)
        measured = emergence.emergence(state, job, scores)
        path = self.saver.save_last(state, scores.get(state.model.task.primary))
        emit.portrait(state, job)
        return metrics.row(state, job, found, path, measured)
