"""The spike trains and constants every oracle gets, and the file its answer goes into.

    python scripts/simulators/trains.py     # draws the trains anew; then run every make_*.py

Imported by scripts that run in the oracles' own environments: numpy alone.
"""

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(__file__).parents[2] / "tests" / "plasticity" / "golden"
STEPS = 300
PAIRS = 24  # connection i leads from train i to train PAIRS + i
CONSTANTS = {
    "windows": [7.0, 20.0, 100.0],
    "learning_rate": 0.001,  # strengths stay far inside (0, 1), where a simulator would clip them
    "a_plus": 1.0,
    "a_minus": 1.05,
    "triplet": {  # Pfister & Gerstner 2006, table 4, visual cortex, all-to-all; a tick is 1 ms
        "tau_plus": 16.8,
        "tau_minus": 33.7,
        "tau_x": 101.0,
        "tau_y": 125.0,
        "a2_plus": 5e-10,
        "a3_plus": 6.2e-3,
        "a2_minus": 7e-3,
        "a3_minus": 2.3e-4,
    },
}


def draw() -> None:
    """Trains of rates 0.05, 0.1 and 0.2. Every source spikes at the last step: NEST gives a
    connection what it owes it only when the source spikes."""
    generator = np.random.default_rng(2026)
    rates = np.repeat([0.05, 0.1, 0.2], 2 * PAIRS // 3)
    generator.shuffle(rates)
    spikes = generator.random((2 * PAIRS, STEPS)) < rates[:, None]
    spikes[:PAIRS, -1] = True
    times = [np.flatnonzero(train).tolist() for train in spikes]
    record = {"steps": STEPS, "pairs": PAIRS, "constants": CONSTANTS, "times": times}
    write("trains", record)


def trains() -> np.ndarray:
    """[2 PAIRS, STEPS] 0 or 1."""
    spikes = np.zeros((2 * PAIRS, STEPS), np.int8)
    for train, times in enumerate(json.loads((GOLDEN / "trains.json").read_text())["times"]):
        spikes[train, times] = 1
    return spikes


def save(name: str, library: str, changes: dict[str, Any], **notes: Any) -> None:
    """Write golden/NAME.json: by case the [PAIRS] changes of strength over the learning rate."""
    versions = {"library": library, "version": version(library), "numpy": np.__version__}
    found = {case: np.asarray(values).tolist() for case, values in changes.items()}
    write(name, {**versions, "python": platform.python_version(), **notes, "changes": found})


def write(name: str, record: dict[str, Any]) -> None:
    """One line a list: decimals that give the same float64 back."""
    GOLDEN.mkdir(exist_ok=True)
    text = json.dumps(record).replace("], ", "],\n").replace(": {", ":\n{")
    (GOLDEN / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    draw()
