"""One layer of configuration: some keys of a stage, and where each is from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Values = dict[str, Any]


@dataclass(frozen=True)
class Layer:
    """Some keys of a stage, and for each dotted key where its value is from."""

    values: Mapping[str, Any]
    sources: Mapping[str, str]


def layer(dotted: Mapping[str, Any], source: str) -> Layer:
    values: Values = {}
    for key, value in dotted.items():
        put(values, key, value)
    return Layer(values, dict.fromkeys(dotted, source))


def put(values: Values, dotted: str, value: Any) -> None:
    *sections, name = dotted.split(".")
    for section in sections:
        values = values.setdefault(section, {})
    values[name] = value


def look_up(values: Mapping[str, Any], dotted: str) -> Any:
    for name in dotted.split("."):
        values = values[name]
    return values
