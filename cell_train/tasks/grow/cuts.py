"""What is cut away from a grown shape: at random while training, the same ones when evaluated."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Dimensions = tuple[int, int, int]


def _places(dimensions: Dimensions) -> Tensor:
    """[X, Y, Z, 3], the cells' centres in -1..1 along each axis."""
    axes = [(2 * torch.arange(size) + 1) / size - 1 for size in dimensions]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)


def at_random(dimensions: Dimensions, random: torch.Generator) -> Tensor:
    """[X, Y, Z] bool: what lies beyond a plane near the middle, or in a ball."""
    places, drawn = _places(dimensions), torch.rand(5, generator=random)
    if drawn[0] < 0.5:
        normal = torch.randn(3, generator=random)
        return places @ (normal / normal.norm()) > 0.6 * (drawn[1] - 0.3)
    centre = 1.4 * (drawn[2:] - 0.5)
    return (places - centre).norm(dim=-1) < 0.4 + 0.3 * drawn[1]


def half(dimensions: Dimensions) -> Tensor:
    """[X, Y, Z] bool: the half with the larger x."""
    return _places(dimensions)[..., 0] > 0


def _some(dimensions: Dimensions) -> Tensor:
    return torch.rand(dimensions, generator=torch.Generator().manual_seed(0)) < 0.3


UNSEEN: Mapping[str, Callable[[Dimensions], Tensor]] = {  # none of them is drawn by `at_random`
    "corner": lambda d: (_places(d) > 0).all(-1),
    "slab": lambda d: _places(d)[..., 2].abs() < 0.3,
    "shell": lambda d: _places(d).norm(dim=-1) > 0.6,
    "tunnel": lambda d: _places(d)[..., :2].norm(dim=-1) < 0.25,
    "random": _some,
}
