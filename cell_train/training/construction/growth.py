"""A lattice that has grown says from the start what the smaller one said.

Interpolated connections and faces carry a signal, but scrambled: on captions the cosine between
the two lattices' outputs was 0.07. What the larger one shows on its output face still tells
what went in; only the map that reads it is wrong, and is corrected by least squares.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from cell_train.model.network import Network
from cell_train.training.presentation import shown

SAMPLES = 512  # of the training data, that both lattices are shown
"""With a code of 128 numbers or more, what they show takes no more memory than the optimizer's
moments of the faces, which there are none of yet: growing is never a stage's peak."""


@torch.no_grad()
def said(network: Network, task: Any, micro_batch: int) -> Tensor:
    """[N, ...]: what `task` reads from the lattice as it is, for the first samples."""
    return torch.cat([task.read(cells) for cells in _shown(network, task, micro_batch)])


@torch.no_grad()
def settle(network: Network, task: Any, micro_batch: int, before: Tensor) -> None:
    """Let `task` correct how it reads the grown lattice, so that it reads `before` again."""
    task.settle(_shown(network, task, micro_batch), before)


def _shown(network: Network, task: Any, micro_batch: int) -> Iterator[Tensor]:
    """The cells [X, Y, Z, B, C] after each presentation."""
    order = list(range(min(SAMPLES, task.size("train"))))
    for batch in task.batches("train", order, micro_batch):
        yield shown(network, task, batch)[0]
