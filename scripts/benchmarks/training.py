"""What a training step spends beside the lattice: plasticity, decoder, clustering, morphology."""

import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from cell_train.config.schema import Execution
from cell_train.planning import plan as planning
from cell_train.planning.request import Request, load, make_plan, resolve_stages
from cell_train.run_folder.paths import StageFiles
from cell_train.training.plasticity_step import inspect_structure, refresh_clusters
from cell_train.training.setup import prepare
from cell_train.training.telemetry.emergence import emergence
from cell_train.training.trainer import Trainer
from scripts.benchmarks.common import Result

# Stage 5's rule and batch on a lattice that keeps a step bearable on two cores.
WORDS = ("lattice.dimensions=[24,24,18]",)
BATCH = list(range(32))
OFF = ("plasticity.enable_plasticity=false", "plasticity.enable_clustering=false")


def trainer(
    *words: str, execution: Callable[[Execution], Execution] = lambda planned: planned
) -> Trainer:
    """Stage 5 in a folder of its own; `execution` may change what the plan chose."""
    request = Request(stages="5", overrides=(*WORDS, *words), profile="fit", device="cpu")
    plan = make_plan(resolve_stages(load(request)))
    resolved = planning.resolved_stage(plan.stages[0])
    resolved.execution = execution(resolved.execution)
    folder = StageFiles(Path(tempfile.mkdtemp(prefix="celltrain-bench-")))
    return prepare(resolved, folder, lambda *_, **__: None, lambda: False)


def seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def without_decoder(one: Trainer) -> None:
    """Score by the embedding alone, as a step would without a decoder alongside."""
    task = one.state.model.task

    def score(y: torch.Tensor, batch: object) -> tuple[torch.Tensor, dict[str, float]]:
        cosine = task.cosine(y, batch)
        return 1 - cosine, {"cosine": float(cosine.detach())}

    task.score = score


def plasticity(rounds: int) -> list[Result]:
    """A full STDP + BCM + competition update of all connections over the rest of the step, and
    what a third factor costs beside it."""
    rounds = min(rounds, 8)
    on, off, third = trainer(), trainer(*OFF), trainer("plasticity.three_factor.rate=0.8")
    arms = (on, off, third)
    for one in arms:
        without_decoder(one)
        one.step(BATCH)
    times = [[seconds(lambda one=one: one.step(BATCH)) for one in arms] for _ in range(rounds)]
    share = statistics.median(a / b - 1 for a, b, _ in times)
    parts = {
        "with": [round(a, 2) for a, _, _ in times],
        "without": [round(b, 2) for _, b, _ in times],
        "three_factor_share": round(statistics.median(c / a - 1 for a, _, c in times), 4),
        "cells": on.state.model.network.connections.cells,
        "connections": on.state.model.network.connections.count,
    }
    return [Result("plasticity_share", share, 0.03, "lower", parts)]


def overhead(rounds: int) -> list[Result]:
    """Everything on over everything off, per step; what happens once an epoch, or once as the
    stage ends, is spread over its steps."""
    rounds = min(rounds, 8)
    on, off, bare = trainer(), trainer(*OFF), trainer(*OFF)
    without_decoder(bare)
    arms = (on, off, bare)
    for one in arms:
        one.step(BATCH)
    times = [[seconds(lambda one=one: one.step(BATCH)) for one in arms] for _ in range(rounds)]
    stage, micro_batch = on.job.stage, on.job.micro_batch
    once = {
        "clustering": seconds(
            lambda: refresh_clusters(on.state.adaptation, on.state.model, stage, 0, micro_batch)
        ),
        "morphology": seconds(lambda: inspect_structure(on.state.model, stage)),
        "evaluation": seconds(lambda: on.evaluate(0, stage.data.held_out)),
    }
    per_step = {name: value / on.job.schedule.steps_per_epoch for name, value in once.items()}
    per_step["emergence"] = seconds(lambda: emergence(on.state, on.job, {})) / on.job.schedule.steps
    base = statistics.median(row[2] for row in times)
    ratios = [(row[0] + sum(per_step.values())) / row[2] for row in times]
    generator = random.Random(0)
    resampled = sorted(
        statistics.median(generator.choices(ratios, k=len(ratios))) for _ in range(2000)
    )
    parts = {
        "interval_95": [round(resampled[50], 4), round(resampled[1949], 4)],
        "plasticity": round(statistics.median(r[0] / r[1] - 1 for r in times), 4),
        "decoder": round(statistics.median(r[1] / r[2] - 1 for r in times), 4),
        **{name: round(value / base, 5) for name, value in per_step.items()},
        "step_seconds": round(base, 2),
    }
    return [Result("overhead", statistics.median(ratios), 1.05, "lower", parts)]
