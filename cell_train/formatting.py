"""Numbers, sizes and durations as people read them, and text that cannot steer a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

CONTROLS = {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\n\t"}
CONTROLS |= dict.fromkeys(range(0x7F, 0xA0), "\ufffd")


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
    """The same with control characters made visible in every text: none may steer a terminal."""
    if isinstance(value, str):
        return value.translate(CONTROLS)
    if isinstance(value, Mapping):
        return {key: printable(inner) for key, inner in value.items()}
    return [printable(inner) for inner in value] if isinstance(value, (list, tuple)) else value
