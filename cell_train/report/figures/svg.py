"""A few shapes of SVG, and axes that know where a value lies. All text is escaped here.

Colours and type are classes of figure.css, so that a figure follows the page it stands in, light
or dark; one saved by itself carries the same rules with it.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from cell_train.report.prose import SUPERSCRIPT, brief

Pair = tuple[float, float]

# Two widths, so that type is as large as the page's where they stand: for what fills a phone, and
# for what stands beside its like of the other stages.
WIDE, SMALL = 360, 180
TINY = 1e-300  # below, numbers lose their digits


@dataclass(frozen=True)
class Axis:
    """From `low` to `high`; ticks are values with their labels."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...] = ()
    log: bool = False
    title: str = ""

    def share(self, value: float) -> float:
        """Where a value lies between the ends, 0 to 1; beyond them it is drawn at the end."""
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(max(value, self.low))
        return min(max((value - low) / (high - low), 0.0), 1.0)


@dataclass(frozen=True)
class Frame:
    """The area of a plot inside its margins, in units of the drawing."""

    width: float
    height: float
    x: Axis
    y: Axis
    left: float = 40
    right: float = 10
    top: float = 30
    bottom: float = 34

    def across(self, value: float) -> float:
        return round(self.left + self.x.share(value) * (self.width - self.left - self.right), 1)

    def up(self, value: float) -> float:
        inner = self.height - self.top - self.bottom
        return round(self.height - self.bottom - self.y.share(value) * inner, 1)


def linear(values: Iterable[float], *, title: str = "", ticks: int = 4) -> Axis:
    """An axis from 0 (or the lowest, where it is below) past the highest value, at round steps."""
    known = [0.0, *values]
    low, high = min(known), max(known)
    span = high - low if high - low > TINY else 1.0
    unit = 10 ** math.floor(math.log10(span / ticks))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if span / (unit * factor) <= ticks)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9) or 1
    marks = tuple((n * step, _plain(n * step)) for n in range(first, last + 1))
    return Axis(marks[0][0], marks[-1][0], marks, title=title)


def decades(values: Iterable[float], *, title: str = "") -> Axis:
    """A logarithmic axis between powers of ten around all positive values."""
    known = [value for value in values if value > TINY] or [1.0]
    low, high = math.floor(math.log10(min(known))), math.ceil(math.log10(max(known)))
    high = max(high, low + 1)
    every = -(-(high - low) // 5)
    marks = tuple((10.0**n, _power(n)) for n in range(low, high + 1, every))
    return Axis(10.0**low, 10.0**high, marks, log=True, title=title)


def _power(n: int) -> str:
    return f"{10.0**n:g}" if -3 <= n <= 3 else f"10{str(n).translate(SUPERSCRIPT)}"


def _plain(value: float) -> str:
    return f"{value:.10g}" if abs(value) < 1e4 else brief(value)


def document(frame: Frame, title: str, description: str, *marks: str) -> str:
    """A whole figure, its title above the plot."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {frame.width:g} {frame.height:g}"'
        f' role="img"><title>{escape(title)}</title><desc>{escape(description)}</desc>'
        f"{text(0, 11, title, 'title')}{''.join(marks)}</svg>"
    )


def scales(frame: Frame) -> str:
    """Grid lines, tick labels and axis titles."""
    left, right = frame.left, frame.width - frame.right
    floor = frame.height - frame.bottom
    marks = [
        f'<path class="grid" d="M{left:g} {frame.up(value):g}H{right:g}"/>'
        + text(left - 5, frame.up(value) + 3.5, label, "tick end")
        for value, label in frame.y.ticks
    ]
    marks += [text(frame.across(v), floor + 13, label, "tick middle") for v, label in frame.x.ticks]
    if frame.x.title:
        marks.append(text((left + right) / 2, frame.height - 5, frame.x.title, "axis middle"))
    if frame.y.title:
        marks.append(text(0, 28, frame.y.title, "axis"))
    return "".join(marks)


def line(frame: Frame, points: Iterable[Pair], kind: str) -> str:
    """A line through points; one alone becomes a dot."""
    placed = [(frame.across(x), frame.up(y)) for x, y in points]
    if not placed:
        return ""
    if len(placed) == 1:
        return f'<circle class="dot {kind}" cx="{placed[0][0]:g}" cy="{placed[0][1]:g}" r="1.5"/>'
    return f'<path class="line {kind}" d="M{_path(placed)}"/>'


def area(frame: Frame, upper: Sequence[Pair], lower: Sequence[Pair], kind: str) -> str:
    """The band between two lines."""
    outline = [*upper, *reversed(lower)]
    placed = [(frame.across(x), frame.up(y)) for x, y in outline]
    return f'<path class="{kind}" d="M{_path(placed)}Z"/>' if placed else ""


def dot(frame: Frame, at: Pair, kind: str, radius: float) -> str:
    x, y = frame.across(at[0]), frame.up(at[1])
    return f'<circle class="dot {kind}" cx="{x:g}" cy="{y:g}" r="{radius:g}"/>'


def text(x: float, y: float, words: str, kind: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{kind}">{escape(words)}</text>'


def _path(placed: Iterable[Pair]) -> str:
    return "L".join(f"{x:g} {y:g}" for x, y in placed)
