"""What a plan must know of recall: every cell is written, and a memory's patterns stay together."""

import math

from cell_train.config.schema import Stage
from cell_train.tasks.plan import F, How, Load, cells


def load(stage: Stage, how: How) -> Load:
    patterns, recall = stage.recall.patterns, stage.recall
    held = 5 * F * cells(stage) * patterns  # stored, with their inverses, cues and targets
    return Load(
        drive=cells(stage),
        training=stage.dataset_limit,
        together=patterns,  # those of two memories never
        shows=recall.shows,
        groups=math.ceil(2 * stage.batch_size / (patterns + 1)),  # of P, P - 1, ... 1 patterns
        stored=2 * min(patterns, stage.batch_size),  # a memory's patterns and their inverses
        data=held if how.on_cpu else 0,
    )


def check(stage: Stage) -> list[str]:
    return []  # patterns come from the seed
