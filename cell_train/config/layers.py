"""One layer of configuration: some keys of a stage, and where each is from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cell_train.errors import Place

Values = dict[str, Any]


@dataclass(frozen=True)
class Layer:
    """Some keys of a stage, and for each dotted key where its value is from."""

    values: Mapping[str, Any]
    sources: Mapping[str, str]
    places: Mapping[str, Place] = field(default_factory=dict)  # of what a person wrote

    def value(self, dotted: str) -> Any:
        """What it sets a key to; None also where it does not."""
        found: Any = self.values
        for name in dotted.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
        return found


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
