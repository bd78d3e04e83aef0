"""A stage's order of samples; how all randomness is derived is in `tasks/seeds.py`."""

import torch
from torch import Tensor

from cell_train.tasks.seeds import derive, generator

__all__ = ["derive", "epoch_order", "generator"]


def epoch_order(count: int, take: int, *parts: int | str) -> Tensor:
    """[take] int64, the samples of an epoch: of `count`, in a seeded random order."""
    return torch.randperm(count, generator=generator(*parts))[:take]
