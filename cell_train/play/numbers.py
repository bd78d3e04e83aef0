"""The numbers of a trained lattice as they lie in a page: base64, little-endian, and no more."""

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any

from cell_train.errors import ConfigError
from cell_train.formatting import gib

MOST = 64 << 20  # bytes of numbers in a page, which base64 makes a third more
NAMED = 3  # of the largest parts, in the sentence about too many


def packed(portable: Mapping[str, Any]) -> str:
    """JSON in which every array is {type, data}; nothing in it can end its element.

    `portable` is what TrainedModel.portable gives. Raises ConfigError where that is more than MOST.
    """
    parts = sorted(_sizes(portable), key=lambda part: part[1], reverse=True)
    total = sum(size for _, size in parts)
    if total > MOST:
        largest = ", ".join(f"{name} {gib(size)}" for name, size in parts[:NAMED])
        raise ConfigError(
            f"play: this stage's numbers take {gib(total)} ({largest}), and a page holds"
            f" {gib(MOST)}; take an earlier stage with --stage."
        )
    return json.dumps(_plain(portable), separators=(",", ":")).replace("<", "\\u003c")


def _sizes(portable: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, int]]:
    """(name, bytes) of every array."""
    for name, value in portable.items():
        if isinstance(value, Mapping):
            yield from _sizes(value, f"{prefix}{name}.")
        elif hasattr(value, "nbytes"):
            yield f"{prefix}{name}", value.nbytes


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    if hasattr(value, "nbytes"):
        kind = f"{value.dtype.kind}{value.dtype.itemsize}"
        return {"type": kind, "data": base64.b64encode(value.tobytes()).decode()}
    return value
