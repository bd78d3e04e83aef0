"""Is the plan right? Predicted against measured peak memory over stages drawn at random.

A draw is trained for real, in a process of its own: built, two optimizer steps, clustering,
morphology, evaluations and checkpoints, all through `training.start.prepare` and `Trainer.run`.
Measured are torch's own allocation records, so that the base of Python and torch is left out.
"""

import math
import multiprocessing
import random
import statistics
import sys
import tempfile
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from cell_train.config.schema import Execution
from cell_train.planning import memory
from cell_train.planning import plan as planning
from cell_train.planning.plan import StagePlan
from cell_train.planning.probe import Budget, available_bytes
from cell_train.planning.request import Request, load, make_plan, resolve_stages
from cell_train.run_files import StageFiles
from cell_train.training.start import prepare
from scripts.benches.common import Result, peak_allocated

SHARE = 0.7  # of the machine's memory: a draw predicted above it is replaced
MOST_WORK = 1e11  # operations of a draw, some seconds; in plain torch a tenth of it
HELD_OUT = 8


def draw(dice: random.Random) -> dict[str, Any]:
    """One configuration: what the stage says, and what the plan would choose."""
    x, y, z = dice.randint(8, 48), dice.randint(8, 48), dice.randint(8, 36)
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


def predicted(plan: StagePlan, chosen: dict[str, Any]) -> tuple[int, str]:
    """Bytes of tensors at the peak, and the phase it is in."""
    phases = memory.phases(plan.stage, **chosen, kind="cpu")
    totals = {name: sum(phase.values()) for name, phase in phases.items()}
    peak = max(totals, key=lambda name: totals[name])
    return totals[peak], peak


def work(plan: StagePlan) -> float:
    """Operations of what is run, as far as they count."""
    lattice, batch = plan.stage.lattice, plan.stage.batch_size
    c, h, k = lattice.channels, lattice.hidden, lattice.kernels
    tick = 2 * 26 * (lattice.connection_density or 1) * k * c + 2 * h * c * (3 + k)
    presented = 2 * 3 * batch + HELD_OUT * 2
    presented += 2 * min(64, batch) if plan.stage.plasticity.enable_clustering else 0
    found = presented * math.prod(lattice.dimensions) * memory.ticks(plan.stage) * tick
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


def plan(rounds: int, count: int, seed: int, fits: int) -> list[Result]:
    del rounds  # allocation repeats exactly
    return fitting(fits, seed) if fits else accuracy(count, seed)


def accuracy(count: int, seed: int) -> list[Result]:
    """|predicted - measured| / measured over `count` draws."""
    dice, errors, replaced = random.Random(seed), [], {"memory": 0, "work": 0}
    while len(errors) < count:
        one = draw(dice)
        made = planned(one["words"])
        expected, phase = predicted(made, one["chosen"])
        if expected > SHARE * available_bytes():
            replaced["memory"] += 1
            continue
        if work(made) > MOST_WORK:
            replaced["work"] += 1
            continue
        found = measured(made, one["chosen"])
        errors.append(expected / found - 1)
        _tell(len(errors), one, expected, found, phase)
    parts = {
        "seed": seed,
        "count": count,
        "replaced": replaced,
        "errors": [round(error, 4) for error in errors],
    }
    sizes = [abs(error) for error in errors]
    return [
        Result("median_error", statistics.median(sizes), 0.02, "lower", parts),
        Result("worst_error", max(sizes), 0.05, "lower", {}),
        Result("worst_under", max(0.0, *(-error for error in errors)), 0.02, "lower", {}),
    ]


def fitting(count: int, seed: int) -> list[Result]:
    """Plans that say "fits" under a limit: those whose peak is above it, and the share unused."""
    dice, over, unused, replaced = random.Random(seed), 0, [], 0
    done = 0
    while done < count:
        one = draw(dice)
        words = [word for word in one["words"] if not word.startswith(("batch_size", "dataset"))]
        words += ["batch_size=16", "dataset_limit=16"]
        roomy, tight = planned(words, 1 << 50), planned(words, 1)
        most, least = roomy.footprint.total, tight.footprint.total
        limit = round(least * (most / least) ** dice.uniform(0.05, 1.05))
        made = planned(words, limit)
        if not made.fits or work(made) > MOST_WORK:
            replaced += 1
            continue
        chosen = {key: getattr(made.execution, key) for key in one["chosen"]}
        found = measured(made, chosen)
        taken = made.footprint.total - made.footprint.tensors + found
        done += 1
        over += taken > limit
        if chosen["micro_batch"] < made.stage.batch_size:
            unused.append(1 - taken / limit)
        share = f"{taken / limit:.3f} of {limit >> 20} MiB"
        print(f"{done:3d} {share}  {chosen}  {' '.join(words)}", file=sys.stderr, flush=True)
    parts = {"seed": seed, "count": count, "replaced": replaced, "batch_limited": len(unused)}
    parts["unused"] = [round(share, 3) for share in unused]
    mean = statistics.fmean(unused) if unused else None
    return [
        Result("ran_out", over, 0, "lower", parts),
        Result("unused_share", mean, 0.1, "lower", {}),
    ]


def _tell(number: int, one: dict[str, Any], expected: int, found: int, phase: str) -> None:
    error = f"{expected / found - 1:+.4f}"
    sizes = f"{expected:>12} {found:>12}"
    words = " ".join((*one["words"], *(f"{k}={v}" for k, v in one["chosen"].items())))
    print(f"{number:3d} {error} {sizes} {phase:11s} {words}", file=sys.stderr, flush=True)
