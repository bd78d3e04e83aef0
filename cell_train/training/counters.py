"""What a stage counts while it trains, and how it says that it was asked to stop."""

from dataclasses import dataclass
from pathlib import Path


@dataclass
class Totals:
    """What a stage adds up over its steps; saved, so that a resumed stage reports the whole."""

    step: int = 0
    samples: int = 0
    seconds: float = 0.0
    loss: float = 0.0  # running mean with a memory of about 50 steps
    cosine: float | None = None
    change: float = 0.0  # sum over steps of the mean absolute change of a strength
    active: float = 0.0
    bad_steps: int = 0  # in a row
    rollbacks: int = 0
    best: float | None = None  # the highest score of an evaluation in training


class Interrupted(Exception):
    """Asked to stop; the checkpoint is written, or `path` is the one before it, or None."""

    def __init__(self, path: Path | None) -> None:
        super().__init__(str(path))
        self.path = path
