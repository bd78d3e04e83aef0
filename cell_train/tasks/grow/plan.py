"""What a plan must know of growing: no maps, every cell read, a pool in the checkpoint."""

from cell_train.config.schema import Stage
from cell_train.tasks.grow import target
from cell_train.tasks.plan import F, How, Load, cells


def load(stage: Stage, how: How) -> Load:
    state = F * cells(stage) * stage.lattice.channels
    pool = state * (stage.grow.pool + 1) + 4 * F * cells(stage)  # with the seed; the target
    loss = 8 * 4 * F * cells(stage) * how.micro_batch  # colours and what autograd keeps of them
    return Load(
        drive=0,
        training=stage.dataset_limit,
        data=pool + 3 * state * how.micro_batch,
        scoring=2 * state * how.micro_batch + loss,
        judged=6 * state,
        kept=pool,
    )


def check(stage: Stage) -> list[str]:
    x, y, z = stage.lattice.dimensions
    target.load(stage.grow.target, (x, y, z))
    return []
