"""A signal crossing the lattice, drawn: as coloured blocks in a terminal, as an animated SVG.

A frame is the lattice at a tick, seen from the side: [X][Z] numbers between 0 and 1. Text enters on
the left (z = 0) and leaves on the right.
"""

import html
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from typing import TextIO

Frame = Sequence[Sequence[float]]

SHADES = " .:-=+*#%@"  # where there is no colour
COLOURS = (233, 53, 54, 60, 66, 72, 78, 113, 155, 227)  # of 256, from dark violet to light yellow
PAUSE = 0.15  # seconds a frame
SECONDS = 0.25  # a frame, in a file
WIDTH = 480  # of a picture
SIDES = (8, 40)  # of a cell in a picture, at least and at most


def play(
    frames: Sequence[Frame],
    stream: TextIO,
    pause: float = PAUSE,
    environment: Mapping[str, str] = os.environ,
) -> None:
    """Draw the frames one over the other, on a terminal that moves its cursor."""
    coloured = not environment.get("NO_COLOR")
    columns, lines = shutil.get_terminal_size()
    frames = [_fitted(frame, columns // 2, lines - 2) for frame in frames]
    stream.write("\x1b[?25l")  # no cursor while it plays
    try:
        for tick, frame in enumerate(frames):
            up = f"\x1b[{len(frame) + 1}A" if tick else ""
            rows = "".join(_row(row, coloured) + "\x1b[K\n" for row in frame)
            stream.write(f"{up}{rows}tick {tick} of {len(frames) - 1}\x1b[K\n")
            stream.flush()
            time.sleep(pause)
    finally:
        stream.write("\x1b[?25h")
        stream.flush()


def svg(frames: Sequence[Frame], lines: Sequence[str]) -> str:
    """A picture that plays by itself, over and over, with `lines` of text below it."""
    rows, columns = len(frames[0]), len(frames[0][0])
    side = min(max((WIDTH - 24) // columns, SIDES[0]), SIDES[1])
    width, height = max(columns * side + 24, WIDTH), rows * side + 20 * len(lines) + 24
    left = (width - columns * side) // 2
    cells = "".join(
        _cell(left + z * side, 12 + x * side, side - 1, [frame[x][z] for frame in frames])
        for x in range(rows)
        for z in range(columns)
    )
    written = "".join(
        f'<text x="12" y="{rows * side + 32 + 20 * index}">{html.escape(_shown(line))}</text>'
        for index, line in enumerate(lines)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">'
        f"<title>{html.escape(_shown(' / '.join(lines)))}</title>"
        f'<rect width="{width}" height="{height}" fill="#1b1026"/>'
        f'<g fill="#fde725">{cells}</g>'
        f'<g fill="#eeeeee" font-family="monospace" font-size="13">{written}</g></svg>\n'
    )


def _cell(x: int, y: int, side: int, values: Sequence[float]) -> str:
    """A square whose opacity follows `values`; the last where nothing moves, as on paper."""
    shown = [f"{value:.2f}" for value in values]
    return (
        f'<rect x="{x}" y="{y}" width="{side}" height="{side}" fill-opacity="{shown[-1]}">'
        f'<animate attributeName="fill-opacity" values="{";".join(shown)}" calcMode="discrete"'
        f' dur="{len(values) * SECONDS:g}s" repeatCount="indefinite"/></rect>'
    )


def _row(row: Sequence[float], coloured: bool) -> str:
    levels = [min(int(value * len(SHADES)), len(SHADES) - 1) for value in row]
    if not coloured:
        return "".join(2 * SHADES[level] for level in levels)
    return "".join(f"\x1b[48;5;{COLOURS[level]}m  " for level in levels) + "\x1b[0m"


def _fitted(frame: Frame, columns: int, rows: int) -> Frame:
    """Every n-th row and column of a frame, so that it fits."""
    down, across = -(-len(frame) // max(rows, 1)), -(-len(frame[0]) // max(columns, 1))
    return [row[::across] for row in frame[::down]]


def _shown(text: str) -> str:
    """Text as a file of XML may hold it, and short."""
    plain = "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
    return plain if len(plain) <= 160 else plain[:159] + "…"
