"""What growing costs, and whether it is worth it.

Held-out cosine right after growing as a share of the one before it, at every stage boundary; and
the grown lattice against one of the same size started afresh that sees as many samples as all
stages up to then.
"""

import statistics
from dataclasses import replace

from cell_train.config.schema import ResolvedStage
from scripts.ablations import runs, text
from scripts.benches.common import Result

STAGES = "1-5"
SAMPLES, EPOCHS = 640, 2  # of every stage
AFRESH = 3  # the stage that is also started afresh


def growth(seeds: int) -> list[Result]:
    """Medians over seeds."""
    kept: dict[str, list[float]] = {}
    ahead: dict[str, list[float]] = {"cosine": [], "bleu": []}
    for seed in range(seeds):
        before, grown = None, {}
        stages = planned(seed)
        for done in runs.trained(stages, look=True):
            number, metrics = done.trainer.resolved.stage.stage, done.row["metrics"]
            if before is not None:
                shape = "x".join(map(str, done.row["dimensions"]))
                share = done.begun["cosine"] / before
                kept.setdefault(f"into stage {number}, {shape}", []).append(share)
            before, grown[number] = metrics["cosine"], metrics
        alone = next(one for one in stages if one.stage.stage == AFRESH)
        alone = replace(alone, stage=replace(alone.stage, epochs=AFRESH * EPOCHS))
        (fresh,) = runs.trained([alone])
        for metric, differences in ahead.items():
            differences.append(grown[AFRESH][metric] - fresh.row["metrics"][metric])
    shares = {name: round(statistics.median(values), 4) for name, values in kept.items()}
    worst = {name: round(min(values), 4) for name, values in kept.items()}
    gains = {name: [round(value, 4) for value in values] for name, values in ahead.items()}
    return [
        Result(
            "cosine_kept", min(shares.values()), 0.9, "higher", {"median": shares, "min": worst}
        ),
        Result("ahead_of_afresh", statistics.median(ahead["cosine"]), 0.0, "higher", gains),
    ]


def planned(seed: int) -> list[ResolvedStage]:
    stages = runs.resolved(STAGES, text.words(), seed)
    for stage in stages:
        stage.stage.epochs, stage.execution.samples_per_epoch = EPOCHS, SAMPLES
        stage.stage.dataset_limit = max(stage.stage.dataset_limit, SAMPLES)
    return stages
