"""The constants of the memory and time models that no formula gives: shipped, or measured here.

`celltrain calibrate` measures them and keeps them in the user's cache, a file for each device,
driver and torch version: with another of these the numbers may be others.
"""

import importlib.util
import math
import os
import platform
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cell_train import cache
from cell_train.hardware.compiler import slow_path
from cell_train.hardware.probe import Budget
from cell_train.planning.cost import roofline, timing
from cell_train.planning.cost.memory import SHIPPED, Constants

SHIPPED_SOURCE = "shipped constants"
MOST_BYTES = 1 << 36  # no worker takes 64 GiB before its first tensor
MOST_LOST = 10.0  # bytes for each byte of tensors


@dataclass(frozen=True)
class Calibration:
    """What a plan counts with on one machine."""

    base_bytes: int  # what a worker takes beside its tensors, less what the budget has taken off
    allocator: float  # bytes lost between tensors, for each byte of them
    rates: Mapping[str, float]  # the keys of rates.yaml
    source: str
    plain: float  # how many times longer the work takes in plain torch than by the rates

    @property
    def constants(self) -> Constants:
        return Constants(self.base_bytes, self.allocator)


def load(budget: Budget) -> Calibration:
    """What was measured on the budget's device with this driver and torch; else what is shipped.

    A damaged file, or one measured elsewhere, counts as absent.
    """
    shipped: dict[str, float] = timing.shipped()[budget.kind]
    plain = timing.shipped()["plain"] if budget.kind == "cpu" else 1.0  # CUDA's rate is a guess
    found = cache.read_record(file_name(budget))
    if found is None or found.get("measured_on") != identity(budget):
        return _unmeasured(budget, shipped, plain)
    names = ("base_bytes", "allocator", "rates", "date")
    base, allocator, rates, date = (found.get(name) for name in names)
    if (
        type(base) is int
        and 0 <= base < MOST_BYTES
        and isinstance(allocator, float)
        and 0 <= allocator < MOST_LOST
        and isinstance(rates, dict)
        and all(_positive(rates.get(name)) for name in shipped)
        and isinstance(date, str)
    ):
        known = {name: rates[name] for name in shipped}
        measured = 1.0 if "step" in identity(budget) else plain
        return Calibration(base, allocator, known, f"calibrated {date[:10]}", measured)
    return _shipped(budget, shipped, f"{SHIPPED_SOURCE} ({file_name(budget)} is damaged)", plain)


def _unmeasured(budget: Budget, shipped: Mapping[str, float], plain: float) -> Calibration:
    estimate = roofline.rates(budget.gpu, budget.capability) if budget.kind == "cuda" else None
    if estimate is None:
        return _shipped(budget, shipped, SHIPPED_SOURCE, plain)
    rates, source = estimate
    said = f"{SHIPPED_SOURCE} and {source}, not measured on this card"
    return _shipped(budget, rates, said, plain)


def _shipped(budget: Budget, rates: Mapping[str, float], source: str, plain: float) -> Calibration:
    known = SHIPPED[budget.kind]
    return Calibration(known.base, known.allocator, rates, source, plain)


def save(budget: Budget, constants: Constants, rates: Mapping[str, float]) -> Path:
    """Keep what was measured on the budget's device. Raises OSError as the file system does."""
    record = {
        "measured_on": identity(budget),
        "base_bytes": constants.base,
        "allocator": constants.allocator,
        "rates": dict(rates),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    return cache.keep_record(file_name(budget), record)


def file_name(budget: Budget) -> str:
    """The file of a device, driver and torch version in the cache."""
    name = re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(identity(budget).values()))[:200]
    return f"calibration-{name}.json"


def identity(budget: Budget) -> dict[str, str]:
    """What the numbers hold for: they are others where no step can be compiled."""
    known = {"device": _device(budget), "driver": _driver(budget), "torch": torch_version()}
    slow = budget.kind == "cpu" and slow_path() is not None
    return known | ({"step": "plain"} if slow else {})


def torch_version() -> str:
    """The version a worker will import, read without importing it."""
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        return "none"
    text = Path(found.origin).with_name("version.py").read_text()
    match = re.search(r"^__version__ = '([^']+)'", text, re.MULTILINE)
    return match[1] if match else "unknown"


def _device(budget: Budget) -> str:
    """A GPU by its UUID; a CPU by its name and how many cores a worker may use."""
    if budget.kind != "cpu":
        return budget.device
    return f"{cpu_name()}, {len(os.sched_getaffinity(0))} cores"


def _driver(budget: Budget) -> str:
    if budget.kind == "cpu":
        return "none"
    try:
        text = Path("/proc/driver/nvidia/version").read_text()
    except OSError:  # as under WSL
        return "unknown"
    match = re.search(r"\b\d+\.\d+(?:\.\d+)?\b", text)
    return match[0] if match else "unknown"


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value > 0
