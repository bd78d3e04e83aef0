"""The bytes a stage takes at its peak, phase by phase, without torch.

Which phase is the peak depends on the stage: phases.py counts what is alive in each. What no
formula gives is in `SHIPPED`, or what `celltrain calibrate` measured (calibration.py).
"""

from dataclasses import dataclass, fields

from cell_train.config.schema import Stage
from cell_train.planning.cost import sizes
from cell_train.planning.cost.memory_phases import Phase, peaks
from cell_train.planning.cost.sizes import cells
from cell_train.tasks import plan as tasks
from cell_train.tasks.plan import F, How


@dataclass(frozen=True)
class Constants:
    """What no formula gives."""

    base: int  # bytes a worker takes beside its tensors, less what the budget has taken off
    allocator: float  # bytes lost between tensors, for each byte of them


SHIPPED = {
    # Python, torch and what it loads for a stage, without mapped files (a Xeon, 2026-11-29); what
    # glibc's heap loses at most (docs/memory.md; an AMD EPYC, 2026-11-23)
    "cpu": Constants(232 << 20, 0.8),
    # Reckoned, not measured: 80 MiB of local memory (224 bytes of stack for each thread that 148
    # multiprocessors hold), 32 of cuBLAS's workspace, the rest for cuDNN's and for modules; and
    # what an allocator of expandable segments loses to alignment and to segments left half full.
    "cuda": Constants(192 << 20, 0.03),
}


@dataclass(frozen=True)
class Footprint:
    """Peak bytes by what they hold; the fields are those of phases.py."""

    parameters: int
    optimizer: int
    gradients: int
    connections: int  # strengths, their index, what clustering and BCM know of them
    data: int
    states: int  # kept for the backward pass
    working: int  # one tick, forward or backward
    faces: int  # what is written, what is read, and a map's gradient on its way
    activity: int
    history: int  # activity of earlier micro-batches, for plasticity
    plasticity: int
    clustering: int
    morphology: int
    decoder: int
    start: int  # what is there only before the first step
    allocator: int
    base: int

    @property
    def tensors(self) -> int:
        """What torch's allocation records count."""
        return self.total - self.allocator - self.base

    @property
    def total(self) -> int:
        return sum(vars(self).values())


def footprint(
    stage: Stage,
    *,
    micro_batch: int,
    segment: int,
    precision: str,
    kind: str,
    constants: Constants | None = None,
) -> Footprint:
    """Predicted peak of a stage on a `kind` of device (cpu or cuda).

    `segment` is the number of ticks between stored states: with one, every tick's state is kept;
    with more, a segment's states are recomputed while the backward pass is inside it. The
    `constants` are by default those shipped.
    """
    every = phases(stage, micro_batch=micro_batch, segment=segment, precision=precision, kind=kind)
    peak = max(every.values(), key=lambda phase: sum(phase.values()))
    known = constants or SHIPPED[kind]
    held = dict.fromkeys((field.name for field in fields(Footprint)), 0) | peak
    held |= {"base": known.base, "allocator": round(known.allocator * sum(peak.values()))}
    return Footprint(**held)


def phases(
    stage: Stage, *, micro_batch: int, segment: int, precision: str, kind: str
) -> dict[str, Phase]:
    """Predicted bytes of tensors by phase of a stage and by what they hold."""
    return peaks(
        sizes.of(stage, micro_batch=micro_batch, segment=segment, precision=precision, kind=kind)
    )


def checkpoint_bytes(stage: Stage) -> int:
    """One checkpoint on disk: trained numbers with their moments, and the connections."""
    task = tasks.load(stage, How(stage.batch_size, 1, on_cpu=True))
    return 3 * F * task.saved + task.kept + 26 * F * cells(stage.lattice.dimensions)
