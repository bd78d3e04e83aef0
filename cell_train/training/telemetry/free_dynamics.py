"""What the lattice does when its input falls silent: measured once, as a stage ends."""

from typing import Any

import torch
from torch import Tensor

from cell_train import limits
from cell_train.analysis.dynamics import branching_ratio, causal_emergence, strength_distribution
from cell_train.config.schema import Stage
from cell_train.tasks.seeds import generator
from cell_train.training.presentation import shown
from cell_train.training.state import Model

TRIALS = 8  # samples shown before the input is removed: 250 ticks of them cost a step or two
SETTLING = 10  # free ticks not looked at: the input's last wave is still running out


def measure(model: Model, stage: Stage, labels: Tensor | None) -> dict[str, Any]:
    """The `emergence` event: dynamics of the free lattice, and how the strengths lie.

    `labels` [N] are the clusters whose means are the parts of causal emergence, if there are any.
    """
    bounds = model.plasticity.bounds
    report: dict[str, Any] = strength_distribution(
        model.network.connections.strength, bounds.low, bounds.high
    )
    free_ticks = stage.plasticity.emergence_config.free_ticks
    if free_ticks == 0:
        return report
    member = _members(labels, model.network.connections.cells)  # [K, N]
    record = free_run(model, member.to(model.device), free_ticks).cpu()
    population, parts = record[..., 0], record[..., 1:]
    random = generator(stage.seed, stage.stage, "surrogates")
    psi = causal_emergence(parts, member[1:].sum(1), random)
    return report | {
        "free_ticks": free_ticks,
        "activity": float(population.mean()),
        "activity_left": float(population[-1].mean() / population[0].mean().clamp_min(1e-30)),
        "branching_ratio": branching_ratio(population),
        "psi": psi.psi if psi else None,
        "psi_null": psi.surrogate_mean if psi else None,
        "psi_p_value": psi.p_value if psi else None,
    }


@torch.no_grad()
def free_run(model: Model, member: Tensor, free_ticks: int) -> Tensor:
    """[free_ticks - SETTLING, TRIALS, K] mean activity of the K groups of cells `member` [K, N]
    after a presentation whose input is then removed: nothing is written any more."""
    network, task = model.network, model.task
    longer = network.lasting(free_ticks)
    mean = member.float() / member.sum(1, keepdim=True).clamp_min(1)
    order = list(range(min(TRIALS, task.size("train"))))
    record = []
    for batch in task.batches("train", order, limits.FREE_TRIALS_TOGETHER):
        cells, _ = shown(network, task, batch)
        free = longer(
            cells.new_empty(0),
            lambda cells, _: cells,
            batch.size,
            start=cells,
            seed=batch.ticks or network.ticks,
        )[1][:, SETTLING:]
        record.append((mean @ free.flatten(1)).view(len(mean), *free.shape[1:]))
        del free  # a record is large, and the next one is made before this name is free
    return torch.cat(record, 2).permute(1, 2, 0)


def _members(labels: Tensor | None, cells: int) -> Tensor:
    """[1 + K, N] bool: all cells, then those of each cluster."""
    everyone = torch.ones(1, cells, dtype=torch.bool)
    if labels is None:
        return everyone
    found = torch.unique(labels[labels >= 0])
    return torch.cat((everyone, labels == found[:, None]))
