"""The choice between micro-batches and checkpoint segments, and a lattice grown into the memory.

All candidates of a stage are put in one order before the budget is looked at, the `ladder`: from
the least memory up, each rung faster than those below it and with no smaller a micro-batch. The
plan takes the highest rung that fits. So more memory never gives a slower plan nor a smaller
micro-batch, both by the ladder's making. What that costs: where a larger micro-batch fits with
recomputation, a smaller one without it is not taken, though it may be faster by that recomputation.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cell_train.config.layers import layer
from cell_train.config.profiles import FIT, Profile
from cell_train.config.resolve import Resolution
from cell_train.config.schema import Stage, Triple
from cell_train.planning.cost import memory, sizes, timing
from cell_train.planning.cost.calibration import Calibration
from cell_train.planning.cost.memory import Footprint
from cell_train.planning.cost.timing import Pace

SEGMENTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)  # ticks between stored states
GROWN = 8  # cells: axes of a grown lattice are whole multiples of it


@dataclass(frozen=True)
class Rung:
    """One way to run a stage's step."""

    micro_batch: int
    segment: int
    footprint: Footprint
    step_seconds: float

    @property
    def peak(self) -> int:
        return self.footprint.total


@dataclass(frozen=True)
class Terms:
    """What holds for the search, whatever the stage."""

    profile: Profile
    kind: str  # cpu | cuda
    bf16: bool
    room: int  # bytes a plan may take: the budget less the headroom
    known: Calibration


@dataclass(frozen=True)
class Choice:
    """A stage with the rung it takes and the samples it sees."""

    resolution: Resolution
    rungs: Sequence[Rung]  # its ladder
    at: int  # where on it
    samples: int  # an epoch
    samples_reason: str

    @property
    def stage(self) -> Stage:
        return self.resolution.stage

    @property
    def rung(self) -> Rung:
        return self.rungs[self.at]

    @property
    def pace(self) -> Pace:
        return timing.pace(self.stage, self.samples, self.rung.step_seconds)


def choose(resolution: Resolution, terms: Terms) -> Choice:
    """The fastest rung that fits; the one that takes least memory where none does."""
    rungs = ladder(resolution.stage, terms)
    at = max((i for i, rung in enumerate(rungs) if rung.peak <= terms.room), default=0)
    return Choice(resolution, rungs, at, *_samples(resolution, terms.profile))


def precision(stage: Stage, bf16: bool) -> str:
    """How cells are stored between ticks: fp32 | bf16 | fp16."""
    if not stage.optimization.mixed_precision.enabled:
        return "fp32"
    return "bf16" if bf16 else "fp16"


def segments(ticks: int) -> list[int]:
    """Checkpoint segments worth trying: memory grows again beyond the root of T."""
    return [segment for segment in SEGMENTS if segment <= math.ceil(math.sqrt(ticks))]


def micro_batches(batch_size: int, limit: int) -> list[int]:
    """Divisors of the effective batch up to `limit`, largest first, so that it is kept exactly."""
    return [size for size in range(min(limit, batch_size), 0, -1) if batch_size % size == 0]


def ladder(stage: Stage, terms: Terms) -> list[Rung]:
    """All rungs worth standing on, least memory first.

    Segments of more than one tick need gradient_checkpointing, micro-batches smaller than the
    profile's limit batch_size_auto_scaling; the profile `fit` has both.
    """
    flags, free = stage.optimization, terms.profile.name == FIT
    batches = micro_batches(stage.batch_size, terms.profile.batch_size_limit or stage.batch_size)
    lengths = segments(sizes.ticks(stage))
    if not (flags.batch_size_auto_scaling or free):
        batches = batches[:1]
    if not (flags.gradient_checkpointing or free):
        lengths = lengths[:1]
    stored = precision(stage, terms.bf16)
    found = [
        Rung(
            size,
            length,
            memory.footprint(
                stage,
                micro_batch=size,
                segment=length,
                precision=stored,
                kind=terms.kind,
                constants=terms.known.constants,
            ),
            timing.step_seconds(
                stage,
                micro_batch=size,
                segment=length,
                rates=terms.known.rates,
                slowdown=terms.known.plain if sizes.plain(stage, terms.kind) else 1.0,
            ),
        )
        for size, length in itertools.product(batches, lengths)
    ]
    rungs: list[Rung] = []
    for one in sorted(found, key=lambda one: (one.peak, one.step_seconds)):
        last = rungs[-1] if rungs else None
        if last is None or (
            one.step_seconds < last.step_seconds and one.micro_batch >= last.micro_batch
        ):
            rungs.append(one)
    return rungs


def fits(stage: Stage, terms: Terms) -> bool:
    """Whether some way to run the stage fits."""
    return ladder(stage, terms)[0].peak <= terms.room


def grow(resolutions: Sequence[Resolution], terms: Terms) -> list[Resolution]:
    """The stages with their lattices as large as all of them fit, by one factor.

    One factor, so that the lattice still grows from stage to stage. Axes are the multiples of 8
    nearest to it, and no smaller than what the stage asks. A stage whose dimensions are overridden
    stays as it is, and so do all where nothing larger fits. The factor ends where a stage's own
    lattice.ticks would not cross the depth.
    """
    free = [one for one in resolutions if not one.overridden("lattice.dimensions")]
    longest = max((max(one.requested_dimensions) for one in free), default=0)
    grown = list(resolutions)
    for blocks in itertools.count(math.ceil(longest / GROWN)) if free else ():
        tried = [_grown(one, blocks / longest) for one in resolutions]
        if not all(_crosses(one.stage) and fits(one.stage, terms) for one in tried):
            break
        grown = tried
    return grown


def _grown(one: Resolution, blocks: float) -> Resolution:
    """The stage with `blocks` blocks of 8 cells for each cell it asks."""
    if one.overridden("lattice.dimensions"):
        return one
    asked: Triple = one.requested_dimensions
    axes = [GROWN * max(math.ceil(cells / GROWN), round(cells * blocks)) for cells in asked]
    if axes == asked:
        return one
    return replace(
        one,
        stage=replace(one.stage, lattice=replace(one.stage.lattice, dimensions=axes)),
        sources=one.sources | {"lattice.dimensions": "--grow"},
        layers=[*one.layers, layer({"lattice.dimensions": axes}, "--grow")],
    )


def _crosses(stage: Stage) -> bool:
    ticks = stage.lattice.ticks
    return ticks is None or ticks >= stage.lattice.dimensions[2]


def _samples(resolution: Resolution, profile: Profile) -> tuple[int, str]:
    """(samples an epoch, why so many); an override of dataset_limit is obeyed."""
    stage, source = resolution.stage, resolution.sources["dataset_limit"]
    total = profile.samples.get(stage.stage)
    if total is None or resolution.overridden("dataset_limit"):
        return stage.dataset_limit, source
    per_epoch = max(1, min(stage.dataset_limit, total // stage.epochs))
    if per_epoch == stage.dataset_limit:
        return per_epoch, source
    return per_epoch, f"memory:{profile.name} limits stage {stage.stage} to {total}"
