"""Where everything of a run lies.

runs/<UTC time>-<name>/
    run.json  plan.json  environment.json  events.jsonl  summary.json  .lock
    crash/ (after a failure: report.json  doctor.json  resolved.yaml  worker.log's end)
    report/ (on request: index.html and its figures)
    controls/bypass/  controls/frozen/ (where monitor.controls asks: like a run folder)
    stage-3/
        resolved.yaml  began.json  metrics.jsonl  worker.log  .lock
        result.json  lattice.json (when the stage is complete)
        tensorboard/ (where that package is installed)
        checkpoints/step-000120.pt + step-000120.json (its manifest, written last)
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class StageFiles:
    """Paths of one stage inside a run folder."""

    folder: Path

    @property
    def resolved(self) -> Path:
        return self.folder / "resolved.yaml"

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.jsonl"

    @property
    def tensorboard(self) -> Path:
        return self.folder / "tensorboard"

    @property
    def log(self) -> Path:
        return self.folder / "worker.log"

    @property
    def result(self) -> Path:
        return self.folder / "result.json"

    @property
    def lattice(self) -> Path:
        return self.folder / "lattice.json"

    @property
    def began(self) -> Path:
        return self.folder / "began.json"

    @property
    def lock(self) -> Path:
        return self.folder / ".lock"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"


@dataclass(frozen=True)
class RunFiles:
    """Paths of one run."""

    folder: Path

    @property
    def marker(self) -> Path:
        """What only a run has; see identity.py."""
        return self.folder / "run.json"

    @property
    def plan(self) -> Path:
        return self.folder / "plan.json"

    @property
    def events(self) -> Path:
        return self.folder / "events.jsonl"

    @property
    def environment(self) -> Path:
        return self.folder / "environment.json"

    @property
    def summary(self) -> Path:
        return self.folder / "summary.json"

    @property
    def lock(self) -> Path:
        return self.folder / ".lock"

    @property
    def crash(self) -> Path:
        return self.folder / "crash"

    @property
    def report(self) -> Path:
        return self.folder / "report"

    def stage(self, number: int) -> StageFiles:
        return StageFiles(self.folder / f"stage-{number}")
