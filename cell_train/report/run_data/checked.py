"""Values that may be shown, out of records that may hold anything."""

from typing import Any

MAX_TEXT = 400  # characters of any one text
MAX_LIST = 200  # bins of a histogram, shells of a spectrum


def real(value: Any) -> float | None:
    """A number that can be drawn, or None: no truth value, not NaN, not infinite, not absurd."""
    return float(value) if type(value) in (int, float) and abs(value) < 1e30 else None


def text(value: Any, limit: int = MAX_TEXT) -> str | None:
    """Text of bounded length without control characters, or None."""
    if not isinstance(value, str):
        return None
    shown = "".join(letter if letter.isprintable() else " " for letter in value[:limit])
    return shown + "…" if len(value) > limit else shown


def one_of(known: tuple[str, ...], value: Any, otherwise: str) -> str:
    return value if isinstance(value, str) and value in known else otherwise


def count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 1 << 62 else None


def shape(value: Any) -> tuple[int, int, int] | None:
    if not isinstance(value, list) or len(value) != 3:
        return None
    sides = [count(side) or 0 for side in value]
    return (sides[0], sides[1], sides[2]) if min(sides) > 0 else None


def reals(record: dict[str, Any], key: str) -> list[float]:
    """A short list of numbers; empty unless all of them are."""
    found = [real(value) for value in listing(record.get(key))[:MAX_LIST]]
    return [] if None in found else [value for value in found if value is not None]


def reals_of(record: dict[str, Any], key: str, count: int) -> list[float] | None:
    """A list of just so many numbers; what is no number is 0."""
    value = record.get(key)
    if not isinstance(value, list) or len(value) != count:
        return None
    return [real(one) or 0.0 for one in value]


def listing(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
