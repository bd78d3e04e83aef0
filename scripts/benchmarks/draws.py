"""Stages drawn at random, on which the plan is tried: stage 5 with other values, on a CPU."""

import math
import multiprocessing
import random
import tempfile
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from cell_train.config.schema import Execution
from cell_train.hardware.probe import Budget
from cell_train.planning import plan as planning
from cell_train.planning.cost import sizes
from cell_train.planning.plan import StagePlan
from cell_train.planning.request import Request, load, make_plan, resolve_stages
from cell_train.run_folder.paths import StageFiles
from cell_train.training.setup import prepare
from scripts.benchmarks.common import peak_allocated

HELD_OUT = 8


def draw(dice: random.Random) -> dict[str, Any]:
    """One configuration: what the stage says, and what the plan would choose."""
    x, y, z = (dice.randint(8, cells) for cells in (48, 48, 36))
    ticks = dice.randint(z, 48)
    micro_batch, accumulation = dice.randint(1, 16), dice.choice((1, 1, 2))
    objective = dice.choice(("embedding", "text"))
    words = {
        "lattice.dimensions": [x, y, z],
        "lattice.ticks": ticks,
        "lattice.channels": dice.choice((8, 16, 24, 32)),
        "lattice.hidden": dice.choice((16, 32)),
        "lattice.kernels": dice.choice((1, 2)),
        "lattice.connection_density": dice.choice((0.1, 0.3, 0.5, 1.0)),
        "lattice.periodic": dice.choice(("false", "true")),
        "lattice.backend": dice.choice(("compiled", "compiled", "compiled", "plain")),
        "batch_size": micro_batch * accumulation,
        "epochs": 2,
        "dataset_limit": micro_batch * accumulation,
        "objective": objective,
        "text.encoder": dice.choice(("vsa", "learned")) if objective == "text" else "vsa",
        "text.embedding": dice.choice((128, 256)),
        "text.vocabulary": dice.choice((200, 400, 8000)),
        "data.held_out": HELD_OUT,
        "plasticity.enable_plasticity": dice.choice(("true", "true", "false")),
        "plasticity.enable_clustering": dice.choice(("true", "false")),
        "plasticity.emergence_config.morphology_tracking": dice.choice(("true", "false")),
        "plasticity.stdp.coincidence": dice.choice(("exclusive", "exclusive", "inclusive")),
        "plasticity.stdp.samples": dice.choice((4, 16)),
        "plasticity.plasticity_rule": dice.choice(("combined", "combined", "triplet")),
        "plasticity.three_factor.rate": dice.choice((0, 0, 0.5)),
        "plasticity.homeostasis.rate": dice.choice((0, 0.001)),
        "plasticity.competition.winner_boost": dice.choice((1.0, 1.1)),
    }
    chosen = {
        "micro_batch": micro_batch,
        "segment": dice.choice(planning.segments(ticks)),
        "precision": dice.choice(("fp32", "bf16", "fp16")),
    }
    return {"words": [f"{key}={value}" for key, value in words.items()], "chosen": chosen}


def planned(words: list[str], budget_bytes: int | None = None) -> StagePlan:
    """Stage 5 with these overrides, as `--profile fit` plans it on a CPU."""
    loaded = load(Request(stages="5", overrides=tuple(words), profile="fit", device="cpu"))
    if budget_bytes is not None:
        budget = Budget("cpu", "cpu", None, budget_bytes, "an imposed limit")
        loaded = replace(loaded, budget=budget)
    return make_plan(resolve_stages(loaded)).stages[0]


def execution(plan: StagePlan, chosen: dict[str, Any]) -> Execution:
    size = chosen["micro_batch"]
    return replace(plan.execution, **chosen, accumulation=plan.stage.batch_size // size, threads=1)


def work(plan: StagePlan) -> float:
    """Operations of what is run, as far as they count."""
    lattice, batch = plan.stage.lattice, plan.stage.batch_size
    c, h, k = lattice.channels, lattice.hidden, lattice.kernels
    tick = 2 * 26 * (lattice.connection_density or 1) * k * c + 2 * h * c * (3 + k)
    presented = 2 * 3 * batch + HELD_OUT * 2
    presented += 2 * min(64, batch) if plan.stage.plasticity.enable_clustering else 0
    found = presented * math.prod(lattice.dimensions) * sizes.ticks(plan.stage) * tick
    return found * (10 if lattice.backend == "plain" else 1)


def measured(plan: StagePlan, chosen: dict[str, Any]) -> int:
    """Train one draw in a fork of this process, which has torch already; its peak of tensors."""
    answers, answer = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=_train, args=(plan, chosen, answer))
    child.start()
    answer.close()
    try:
        return int(answers.recv())
    except EOFError:
        raise SystemExit(f"a draw failed: {chosen}") from None
    finally:
        child.join()


def _train(plan: StagePlan, chosen: dict[str, Any], answer: Connection) -> None:
    torch.set_num_threads(1)
    resolved = planning.resolved_stage(plan)
    resolved.execution = execution(plan, chosen)
    with tempfile.TemporaryDirectory(prefix="celltrain-bench-") as folder:

        def train() -> None:
            prepare(resolved, StageFiles(Path(folder)), lambda *_, **__: None, lambda: False).run()

        answer.send(peak_allocated(train))
