"""The two faces of the lattice: numbers are written at z = 0 and read at z = Z - 1."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Faces(nn.Module):
    """A linear map onto the input face and one from the output face, D numbers each."""

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

    @staticmethod
    def write(cells: Tensor, drive: Tensor) -> Tensor:
        """`cells` [X, Y, Z, B, C] with the plane z = 0 replaced by `drive` [X, Y, B, C]."""
        return torch.cat((drive[:, :, None], cells[:, :, 1:]), 2)

    def read(self, cells: Tensor) -> Tensor:
        """[B, D] from the plane z = Z - 1."""
        face = cells[:, :, -1].permute(2, 0, 1, 3).flatten(1)
        return face @ self.leave.flatten(0, 2)

    def grow(self, face: tuple[int, int]) -> None:
        """Spread both maps over another face so that it reads what it writes as before.

        Interpolating both would let the output face hear each cell's neighbours: the orthogonal
        part of the interpolation does not. The maps shrink as interpolated ones do, for only
        directions are read, and small maps are turned faster by the same step of the optimizer
        (`scripts/ablate.py growth`).
        """
        old = self.enter.shape[1:3]
        x, y = (_spreading(*sizes) for sizes in zip(old, face, strict=True))
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
