"""A block of lines at the foot of a terminal, redrawn in place without ever blanking a line.

rich's Live erases what it draws before it draws anew, and counts lines by the width they were
drawn at: it flickers, and leaves fragments behind when the terminal is resized.
"""

import contextlib
import math
import threading
from collections.abc import Callable, Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.text import Text

PAUSE = 0.25  # seconds between frames
UP, TO_LINE_END, TO_SCREEN_END = "\x1b[{}A", "\x1b[K", "\x1b[J"


def frame(old: Sequence[str], new: Sequence[str], rows: int, above: Sequence[str] = ()) -> str:
    """What to write so that the lines `old` become `new`; the cursor is below them, and is again.

    `above` comes to stand over the block for good. `rows` is what `old` takes on the screen now:
    where that is not a row a line, the terminal has folded the lines into a new width. Then, and
    only then, they are erased first.
    """
    folded = rows != len(old)
    parts = [UP.format(rows) if rows else "", "\r", TO_SCREEN_END if folded else ""]
    parts += [f"{line}{TO_LINE_END}\n" for line in above]
    kept = () if folded or above else old
    for index, line in enumerate(new):
        same = index < len(kept) and kept[index] == line
        parts.append("\n" if same else f"{line}{TO_LINE_END}\n")
    return "".join((*parts, TO_SCREEN_END if len(old) > len(new) else ""))


class Screen:
    """Redraws `picture` four times a second where it has changed."""

    def __init__(self, console: Console, picture: Callable[[int], RenderableType]) -> None:
        """`picture` gives what to draw at a width in columns; it is called under `lock`."""
        self.lock = threading.RLock()
        self._console, self._picture = console, picture
        self._drawn: list[str] = []
        self._closed = threading.Event()

    def say(self, text: Text) -> None:
        """Print something above the block, where it stays."""
        with self.lock:
            self._draw(above=self._rendered(text, self._console.width, fold=False))

    @contextlib.contextmanager
    def showing(self) -> Iterator["Screen"]:
        """The block is there meanwhile, and gone after."""
        drawer = threading.Thread(target=self._keep_drawing, daemon=True)
        drawer.start()
        try:
            yield self
        finally:
            self._closed.set()
            drawer.join()
            with self.lock:
                self._show([])

    def _keep_drawing(self) -> None:
        while not self._closed.wait(PAUSE):
            with self.lock:
                self._draw()

    def _draw(self, above: Sequence[str] = ()) -> None:
        width, height = self._console.size
        # a line as wide as the terminal leaves the cursor where erasing takes its last character
        lines = self._rendered(self._picture(width - 1), width - 1)
        self._show(lines[: height - 1], above)

    def _show(self, lines: list[str], above: Sequence[str] = ()) -> None:
        width = self._console.width
        rows = sum(
            max(1, math.ceil(cell_len(Text.from_ansi(x).plain) / width)) for x in self._drawn
        )
        if not above and rows == len(self._drawn) and lines == self._drawn:
            return
        text = frame(self._drawn, lines, rows, above)
        self._drawn = lines
        with contextlib.suppress(OSError):  # a terminal that is gone must not end the run
            self._console.file.write(text)
            self._console.file.flush()

    def _rendered(self, what: RenderableType, width: int, fold: bool = True) -> list[str]:
        with self._console.capture() as captured:
            self._console.print(what, width=max(width, 1), soft_wrap=not fold)
        return [line.rstrip() for line in captured.get().removesuffix("\n").split("\n")]
