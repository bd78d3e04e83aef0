"""What growing costs, and whether it is worth it.

Held-out cosine right after growing as a share of the one before it, at every stage boundary; and
the grown lattice against one of the same size started afresh that sees as many samples as all
stages up to then, and against one that is given as many cell updates.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cell_train.config.schema import ResolvedStage
from cell_train.planning.cost import sizes
from scripts.ablations import runs, text
from scripts.benchmarks.common import Result

STAGES = "1-5"
SAMPLES, EPOCHS = 1024, 6  # of every stage
AFRESH = 3  # the stage that is also started afresh


@dataclass(frozen=True)
class Grown:
    """One seed's figures."""

    kept: Mapping[str, float]  # by boundary: the cosine right after growing over that before
    ahead: Mapping[str, float]  # by metric: grown less started afresh, with as many samples
    ahead_for_work: Mapping[str, float]  # the same, with as many cell updates


def growth(seeds: int) -> list[Result]:
    """Medians over seeds."""
    return results([grown(seed) for seed in range(seeds)])


def grown(seed: int) -> Grown:
    stages = planned(seed)
    kept: dict[str, float] = {}
    metrics: dict[int, dict[str, float]] = {}  # by stage, at its end
    for number, done in enumerate(runs.trained(stages, look=True), 1):
        shape = "x".join(map(str, done.row.dimensions))
        if number > 1:
            share = done.begun["cosine"] / metrics[number - 1]["cosine"]
            kept[f"into stage {number}, {shape}"] = share
        metrics[number] = done.row.metrics
    last = stages[AFRESH - 1]
    updates = [math.prod(one.stage.lattice.dimensions) * sizes.ticks(one.stage) for one in stages]
    as_much_work = math.ceil(EPOCHS * sum(updates[:AFRESH]) / updates[AFRESH - 1])
    ahead = []
    for epochs in (AFRESH * EPOCHS, as_much_work):
        (fresh,) = runs.trained([replace(last, stage=replace(last.stage, epochs=epochs))])
        ahead.append({n: metrics[AFRESH][n] - fresh.row.metrics[n] for n in ("cosine", "bleu")})
    return Grown(kept, *ahead)


def results(seen: Sequence[Grown]) -> list[Result]:
    kept = {name: [one.kept[name] for one in seen] for name in seen[0].kept}
    ahead, for_work = (
        {name: [round(one[name], 4) for one in found] for name in found[0]}
        for found in ([one.ahead for one in seen], [one.ahead_for_work for one in seen])
    )
    medians = {name: round(statistics.median(shares), 4) for name, shares in kept.items()}
    lowest = {name: round(min(shares), 4) for name, shares in kept.items()}
    parts = {"median": medians, "lowest": lowest}
    return [
        Result("cosine_kept", min(medians.values()), 0.9, "higher", parts),
        Result("ahead_of_afresh", statistics.median(ahead["cosine"]), 0.0, "higher", ahead),
        Result("ahead_for_work", statistics.median(for_work["cosine"]), None, "higher", for_work),
    ]


def planned(seed: int) -> list[ResolvedStage]:
    stages = runs.resolved(STAGES, text.words(), seed)
    for stage in stages:
        stage.stage.epochs, stage.execution.samples_per_epoch = EPOCHS, SAMPLES
        stage.stage.dataset_limit = max(stage.stage.dataset_limit, SAMPLES)
    return stages
