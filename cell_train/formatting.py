"""Numbers, sizes and durations as people read them, and text that cannot steer a terminal."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

# C0 and C1 controls, what turns the direction of writing, line ends that no line reader knows, half
# characters (bytes of a path that are no UTF-8)
STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def shape(dimensions: Sequence[int] | None) -> str:
    return "×".join(str(cells) for cells in dimensions) if dimensions else "-"


def gib(size: float | None) -> str:
    """Bytes for people."""
    if size is None:
        return "-"
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def si(value: float) -> str:
    """A rate for people: 1.2 M."""
    for factor, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= factor:
            return f"{value / factor:.1f}{letter}"
    return f"{value:.0f} "


def duration(seconds: float | None) -> str:
    """Seconds for people: 45s, 3m20s, 2h05m."""
    if seconds is None:
        return "-"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def printable(value: Any) -> Any:
    """The same with control characters made visible in every text, keys of mappings included.

    None may steer a terminal.
    """
    if isinstance(value, str):
        return STEERING.sub(_shown, value)
    if isinstance(value, Mapping):
        return {printable(key): printable(inner) for key, inner in value.items()}
    return [printable(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _shown(match: re.Match[str]) -> str:
    """A control as its picture, where there is one, or as its number."""
    code = ord(match[0])
    if code < 32:
        return chr(0x2400 + code)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a path
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
