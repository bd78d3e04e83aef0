"""Coloured voxels as pictures: drawn with numpy alone, written as PNG and as an SVG that moves."""

import base64
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
THERE = 0.5  # opacity from which a voxel is drawn
WIDEST = 128  # pixels of the longest edge of all voxels together, about
SHADES = (1.0, 0.72, 0.86)  # of the top, the left and the right face
PAPER = 255


@dataclass(frozen=True)
class Frame:
    """One picture of a film."""

    voxels: NDArray[np.float32]  # [X, Y, Z, 4], red, green, blue times opacity, and opacity
    label: str
    hold: int = 1  # how many times as long as others it is shown


def draw(voxels: NDArray[np.float32], quarter: int = 0) -> Pixels:
    """[height, width, 3]: the voxels seen from a corner above (z is up), turned by quarters."""
    seen = np.rot90(voxels, quarter, (0, 1))
    x, y, z = seen.shape[:3]
    edge = max(WIDEST // max(x, y, z) // 2 * 2, 2)  # of a voxel, in pixels
    masks, (tall, wide) = _cube(edge)
    rise, run = edge // 2, edge
    height, width = (x + y) * rise + z * edge + tall, (x + y) * run + wide
    paper = np.full((height, width, 3), PAPER, np.uint8)
    there = np.argwhere(seen[..., 3] > THERE)
    for i, j, k in there[np.argsort(there.sum(1), kind="stable")]:  # the farthest first
        colour = seen[i, j, k, :3] / seen[i, j, k, 3]
        top = (i + j) * rise + (z - 1 - k) * edge
        left = (j - i) * run + (x - 1) * run
        spot = paper[top : top + tall, left : left + wide]
        for mask, shade in zip(masks, SHADES, strict=True):
            spot[mask] = np.clip(255 * shade * colour, 0, 255).astype(np.uint8)
    return paper


def _cube(edge: int) -> tuple[tuple[NDArray[np.bool_], ...], tuple[int, int]]:
    """The pixels of a cube's top, left and right face, and how many there are (down, across)."""
    rise, run = edge // 2, edge
    tall, wide = 2 * rise + edge, 2 * run
    row, column = np.mgrid[0:tall, 0:wide] + 0.5
    slope = np.abs(column - run) * rise / run  # how far the top's rim lies below its far corner
    top = (row >= slope) & (row < 2 * rise - slope)
    below = (row >= 2 * rise - slope) & (row < 2 * rise - slope + edge)
    return (top, below & (column < run), below & (column >= run)), (tall, wide)


def png(pixels: Pixels) -> bytes:
    """A PNG file of [height, width, 3]."""
    height, width, _ = pixels.shape
    lines = b"".join(b"\0" + line.tobytes() for line in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(lines, 9)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def film(frames: Sequence[Frame], pause: float = 0.16) -> str:
    """An SVG that shows one frame after the other, again and again; `pause` is in seconds.

    It holds its pictures and asks nothing of anyone; where nothing moves, the last frame is seen.
    """
    pictures = [draw(frame.voxels) for frame in frames]
    height, width, _ = pictures[0].shape
    total = sum(frame.hold for frame in frames)
    shown, begin = [], 0
    for index, (frame, picture) in enumerate(zip(frames, pictures, strict=True)):
        end = begin + frame.hold
        data = base64.b64encode(png(picture)).decode()
        last = index + 1 == len(frames)
        times = f"0;{begin / total:.5f};{end / total:.5f}"
        values = "0;1;0"
        if begin == 0:
            times, values = f"0;{end / total:.5f}", "1;0"
        shown.append(
            f'<g opacity="{int(last)}"><image width="{width}" height="{height}"'
            f' href="data:image/png;base64,{data}"/>'
            f'<text x="12" y="{height + 16}">{escape(frame.label)}</text>'
            f'<animate attributeName="opacity" calcMode="discrete" values="{values}"'
            f' keyTimes="{times}" dur="{total * pause:.2f}s" repeatCount="indefinite"/></g>'
        )
        begin = end
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height + 28}"'
        f' width="{width}" height="{height + 28}"><title>A shape grows from one cell, is cut, and'
        " grows again</title><style>text{font:14px ui-monospace,monospace;fill:#444}</style>"
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(shown)}</svg>\n'
    )
