"""The two faces of the lattice: numbers are written at z = 0 and read at z = Z - 1."""

import torch
from torch import Tensor, nn
from torch.nn import functional

RIDGE = 0.01  # of a sample's mean power: what a correction must be worth


class OntoFace:
    """Puts x [X, Y, B, C] on the plane z = 0 of cells [X, Y, Z, B, C]: a rollout.Write.

    Without a graph it writes into the cells it is given, which spares a copy of them every tick.
    """

    def __call__(self, cells: Tensor, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return torch.cat((x[:, :, None], cells[:, :, 1:]), 2)
        cells[:, :, 0] = x
        return cells

    def back(self, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """The gradients of cells and x; the first takes the place of `gradient`."""
        of_x = gradient[:, :, 0].clone()
        gradient[:, :, 0] = 0
        return gradient, of_x


class Faces(nn.Module):
    """A linear map onto the input face and one from the output face, D numbers each."""

    write = OntoFace()

    def __init__(
        self, width: int, face: tuple[int, int], channels: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        x, y = face
        enter = torch.randn(width, x, y, channels, generator=generator)
        leave = torch.randn(x, y, channels, width, generator=generator)
        # `enter` expects numbers of variance 1 and gives cells of variance 1.
        self.enter = nn.Parameter(enter * width**-0.5)  # [D, X, Y, C]
        self.leave = nn.Parameter(leave * (x * y * channels) ** -0.5)  # [X, Y, C, D]

    def drive(self, embedding: Tensor) -> Tensor:
        """[B, D] -> [X, Y, B, C], what `write` puts on the input face."""
        face = embedding @ self.enter.flatten(1)
        return face.unflatten(1, self.enter.shape[1:]).permute(1, 2, 0, 3).contiguous()

    def read(self, cells: Tensor) -> Tensor:
        """[B, D] from the plane z = Z - 1."""
        return self.seen(cells) @ self.leave.flatten(0, 2)

    @staticmethod
    def seen(cells: Tensor) -> Tensor:
        """[B, X Y C], what the plane z = Z - 1 shows."""
        return cells[:, :, -1].permute(2, 0, 1, 3).flatten(1)

    def settle(self, seen: Tensor, y: Tensor) -> None:
        """Change what is read as little as makes `seen` [N, X Y C] say `y` [N, D].

        Ridge regression on what is missing, in its dual form: N equations, however large the face.
        """
        with torch.no_grad():
            missing = y - seen @ self.leave.flatten(0, 2)
            alike = seen @ seen.t()
            alike.diagonal().add_(RIDGE * alike.diagonal().mean())
            change = seen.t() @ torch.linalg.solve(alike, missing)
            self.leave.add_(change.view_as(self.leave))

    def grow(self, face: tuple[int, int]) -> None:
        """Spread both maps over another face so that it reads what it writes as before.

        Interpolating both would let the output face hear each cell's neighbours: the orthogonal
        part of the interpolation does not. The maps shrink as interpolated ones do, for only
        directions are read, and small maps are turned faster by the same step of the optimizer
        (`scripts/ablate.py growth`).
        """
        old = self.enter.shape[1:3]
        there = self.enter.device
        x, y = (_spreading(*sizes).to(there) for sizes in zip(old, face, strict=True))
        share = old[0] * old[1] / (face[0] * face[1])
        with torch.no_grad():
            enter = torch.einsum("dxyc,ux,vy->duvc", self.enter, x, y)
            leave = torch.einsum("xycd,ux,vy->uvcd", self.leave, x, y) * share
            self.enter = nn.Parameter(enter.contiguous())
            self.leave = nn.Parameter(leave.contiguous())


def _spreading(old: int, new: int) -> Tensor:
    """[new, old], along an axis: the orthogonal part of linear interpolation, of the same norm."""
    linear = functional.interpolate(torch.eye(old)[None], size=new, mode="linear")[0].T
    left, _, right = torch.linalg.svd(linear, full_matrices=False)
    return left @ right * (linear.norm() / old**0.5)
