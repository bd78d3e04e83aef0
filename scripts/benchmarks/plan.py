"""Is the plan right? Predicted against measured peak memory over stages drawn at random.

A draw is trained for real, in a process of its own: built, two optimizer steps, clustering,
morphology, evaluations and checkpoints, all through `training.start.prepare` and `Trainer.run`.
Measured are torch's own allocation records, so that the base of Python and torch is left out.
"""

import random
import statistics
import sys
from typing import Any

from cell_train.hardware.memory import available_bytes
from cell_train.planning.cost import memory
from cell_train.planning.plan import StagePlan
from scripts.benchmarks.common import Result
from scripts.benchmarks.draws import draw, measured, planned, work
from scripts.benchmarks.fits import fitting

SHARE = 0.7  # of the machine's memory: a draw predicted above it is replaced
MOST_WORK = 1e11  # operations of a draw, some seconds; in plain torch a tenth of it


def predicted(plan: StagePlan, chosen: dict[str, Any]) -> tuple[int, str]:
    """Bytes of tensors at the peak, and the phase it is in."""
    phases = memory.phases(plan.stage, **chosen, kind="cpu")
    totals = {name: sum(phase.values()) for name, phase in phases.items()}
    peak = max(totals, key=lambda name: totals[name])
    return totals[peak], peak


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


def _tell(number: int, one: dict[str, Any], expected: int, found: int, phase: str) -> None:
    error = f"{expected / found - 1:+.4f}"
    sizes = f"{expected:>12} {found:>12}"
    words = " ".join((*one["words"], *(f"{k}={v}" for k, v in one["chosen"].items())))
    print(f"{number:3d} {error} {sizes} {phase:11s} {words}", file=sys.stderr, flush=True)
