"""What a stage must reach before the next one starts."""

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cell_train.config import metrics
from cell_train.config.schema import Stage
from cell_train.config.yaml.suggestions import did_you_mean, nearest
from cell_train.errors import ConfigError, GateMissed

_REQUIREMENT = re.compile(r"\s*([A-Za-z_][\w.]*)\s*(>=|<=)\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*")


@dataclass(frozen=True)
class Requirement:
    """`metric` must be at least, or at most, `bound`."""

    metric: str
    at_most: bool
    bound: float

    def __str__(self) -> str:
        return f"{self.metric}{'<=' if self.at_most else '>='}{self.bound:g}"

    def met(self, value: float) -> bool:
        return value <= self.bound if self.at_most else value >= self.bound


def parse(text: str) -> Requirement:
    """`bleu>=0.3` or `loss<=1`. Raises ConfigError for anything else."""
    match = _REQUIREMENT.fullmatch(text)
    try:
        if match and math.isfinite(float(match[3])):
            return Requirement(match[1], match[2] == "<=", float(match[3]))
    except ValueError:
        pass
    raise ConfigError(f"--require {text!r}: write METRIC>=NUMBER or METRIC<=NUMBER.")


def check_known(requirement: Requirement, stage: Stage) -> None:
    """Raise ConfigError where a stage will have no such number, before it is trained for one."""
    if said := metrics.unknown(requirement.metric, stage):
        raise ConfigError(f"--require {requirement}: {said[0]} ({said[1]}).")


def without(words: Sequence[str], options: Collection[str]) -> list[str]:
    """The words of a command without some of its options and their values."""
    kept, skip = [], False
    for word in words:
        name, equals, _ = word.partition("=")
        if not skip and name not in options:
            kept.append(word)
        skip = not skip and name in options and not equals
    return kept


def check(requirement: Requirement, row: Mapping[str, Any]) -> None:
    """Hold a completed stage's row of the summary against a requirement.

    Raises GateMissed when it is missed, or when the stage has no such number.
    """
    numbers = {**row, **(row.get("metrics") or {})}
    numbers = {key: value for key, value in numbers.items() if type(value) in (int, float)}
    if requirement.metric not in numbers:
        guess = did_you_mean(nearest(requirement.metric, numbers))
        measured = ", ".join(row.get("metrics") or ()) or "none of its own"
        raise GateMissed(
            f"stage {row['stage']} has no metric {requirement.metric!r}{guess and f' ({guess})'};"
            f" it measured {measured}."
        )
    value = numbers[requirement.metric]
    if not requirement.met(value):
        raise GateMissed(
            f"stage {row['stage']} ended with {requirement.metric} {value:.4g},"
            f" but {requirement} is required; no later stage was started."
        )
