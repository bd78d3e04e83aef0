"""Stages trained in this process, each grown from the one before, and what their lattice bears."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from cell_train import events
from cell_train.config.schema import ResolvedStage
from cell_train.events.kinds import Message, StageEnd
from cell_train.planning import plan as planning
from cell_train.planning.request import Request, load, make_plan, resolve_stages
from cell_train.run_folder.paths import RunFiles
from cell_train.training.schedule import epoch_order
from cell_train.training.setup import prepare
from cell_train.training.trained_model import TrainedModel
from cell_train.training.trainer import Trainer

SPHERE = 0.2  # of the cells, silenced in the lattice's middle


@dataclass(frozen=True)
class Done:
    """A stage that was trained, and all that it told."""

    trainer: Trainer
    row: StageEnd
    told: list[dict[str, Any]]  # events
    begun: Mapping[str, float]  # the task's metrics before the first step, where it was looked at

    def metrics(self, lesion: float = 0.0) -> dict[str, float]:
        """The task's metrics on all held-out samples, with a share of the cells silenced."""
        self.trainer.state.model.task.eval()
        return self._hurt(lesion).evaluate()

    def healed(self, lesion: float, steps: int) -> dict[str, float]:
        """`metrics` after so many steps in which the cells stay silent and only strengths change.

        The stage is of no other use afterwards.
        """
        trainer, task = self.trainer, self.trainer.state.model.task
        stage, model = trainer.job.stage, trainer.state.model
        trainer.state.model = replace(
            model, network=model.network.silenced(self._hurt(lesion).awake)
        )
        order = epoch_order(task.size("train"), steps * stage.batch_size, stage.seed, "healing")
        for group in trainer.state.optimizer.param_groups:
            group["initial_lr"] = 0.0
        task.train()
        for samples in order.split(stage.batch_size):
            trainer.step(samples.tolist())
        return self.metrics(lesion)

    def _hurt(self, lesion: float) -> TrainedModel:
        model = self.trainer.state.model
        awake = torch.ones(*model.network.connections.dimensions, 1, 1)
        stage, path = self.trainer.job.stage.stage, Path(self.row.checkpoint)
        return TrainedModel(stage, path, (), model, awake).lesion(lesion)


def resolved(stages: str, words: Sequence[str], seed: int) -> list[ResolvedStage]:
    """The built-in stages as the cpu profile trains them, with `words` put over their keys."""
    request = Request(
        stages=stages,
        overrides=(*words, f"seed={seed}"),
        device="cpu",
        profile="cpu",
        threads=torch.get_num_threads(),
    )
    plan = make_plan(resolve_stages(load(request)))
    return [planning.resolved_stage(stage) for stage in plan.stages]


def trained(stages: Sequence[ResolvedStage], look: bool = False) -> Iterator[Done]:
    """Train one after another, after a `look` at each as it begins; then checkpoints go."""
    start = None
    with tempfile.TemporaryDirectory(prefix="celltrain-ablation-") as folder:
        for stage in stages:
            done = _train(replace(stage, start_from=start), RunFiles(Path(folder)), look)
            yield done
            start = done.row.checkpoint


def _train(stage: ResolvedStage, files: RunFiles, look: bool) -> Done:
    told: list[dict[str, Any]] = []

    def emit(message: Message) -> None:
        told.append(events.record(message))

    own = files.stage(stage.number)
    own.folder.mkdir()
    trainer = prepare(stage, own, emit, lambda: False)
    begun = trainer.evaluate(0, 0).metrics if look else {}
    return Done(trainer, trainer.run(), told, begun)
