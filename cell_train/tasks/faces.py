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
        """Interpolate the input map to another face, and read there what was written before.

        The output map goes through the pseudo-inverse of the interpolation: what crosses the
        lattice column by column is then read back exactly, where a map that was interpolated too
        would hear each cell's neighbours in it (`scripts/ablate.py growth`).
        """
        before = self.enter.shape[1:3]
        x, y = (_interpolation(old, new) for old, new in zip(before, face, strict=True))
        with torch.no_grad():
            enter = torch.einsum("dxyc,ux,vy->duvc", self.enter, x, y)
            back = torch.linalg.pinv(x), torch.linalg.pinv(y)
            leave = torch.einsum("xycd,xu,yv->uvcd", self.leave, *back)
            self.enter = nn.Parameter(enter.contiguous())
            self.leave = nn.Parameter(leave.contiguous())


def _interpolation(old: int, new: int) -> Tensor:
    """[new, old], linear along an axis of the face."""
    return functional.interpolate(torch.eye(old)[None], size=new, mode="linear")[0].T
