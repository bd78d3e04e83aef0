"""A stage in numbers: all that its memory depends on."""

import functools
import math
import os
import shutil
from dataclasses import dataclass

from cell_train import limits
from cell_train.config.constraints import CELL_RULES
from cell_train.config.schema import Stage, Triple
from cell_train.hardware.compiler import slow_path
from cell_train.tasks import plan as tasks
from cell_train.tasks.plan import F, How, Load


@dataclass(frozen=True)
class Sizes:
    """A stage in numbers."""

    cells: int  # N
    channels: int  # C
    hidden: int  # H
    kernels: int  # K
    ticks: int  # T
    pairs: int  # neighbour pairs inside the borders
    connections: int  # E
    micro_batch: int  # B
    accumulation: int
    segment: int
    width: int  # bytes of a stored number
    observed: int  # S, samples whose activity feeds plasticity; 0: no plasticity
    stores: bool  # a memory at a time
    inhibition: bool  # strengths balanced beside those that are
    copies: int  # of the observed activity's size that STDP holds at once
    triplet: bool  # with traces of four windows
    scaling: bool  # homeostatic
    credited: bool  # a third factor, kept for each connection
    competing: bool
    clustering: bool
    past: int  # clusterings whose labels are kept
    morphology: bool
    free_ticks: int  # recorded at the end without input; 0: none
    persistent: bool  # traces last over presentations
    plain: bool  # the step in plain torch instead of a compiled one
    on_cpu: bool  # else what is prepared on the CPU takes no memory of the device
    task: Load

    @property
    def state(self) -> int:
        """Numbers in the cells of a micro-batch."""
        return self.cells * self.micro_batch * self.channels

    @property
    def fused(self) -> bool:
        """The step is a GPU's compiled one."""
        return not self.plain and not self.on_cpu

    @property
    def rule(self) -> int:
        c, h, k = self.channels, self.hidden, self.kernels
        return 26 * k + (1 + k) * c * h + h + 2 * h * c + 2 * c

    @property
    def parameters(self) -> int:
        return self.rule + 2 * self.task.map + self.task.decoder + self.task.encoder


def of(stage: Stage, *, micro_batch: int, segment: int, precision: str, kind: str) -> Sizes:
    """A stage's, on a `kind` of device (cpu or cuda), run in this way."""
    lattice, rules = stage.lattice, stage.plasticity
    stdp, triplet = rules.stdp, rules.plasticity_rule == "triplet"
    morphology, clusters = rules.emergence_config, rules.clustering_config
    accumulation = stage.batch_size // micro_batch
    task = tasks.load(stage, How(micro_batch, accumulation, kind == "cpu"))
    return Sizes(
        cells=cells(lattice.dimensions),
        channels=lattice.channels,
        hidden=lattice.hidden,
        kernels=lattice.kernels,
        ticks=ticks(stage),
        pairs=neighbour_pairs(lattice.dimensions, lattice.periodic),
        connections=connections(stage),
        micro_batch=min(micro_batch, task.together or micro_batch),
        accumulation=accumulation,
        segment=segment,
        width=F if precision == "fp32" else 2,
        observed=_observed(stage, task),
        stores=stores(stage),
        inhibition=lattice.inhibition,
        copies=8 if triplet else 3 + (stdp.coincidence != "exclusive"),
        triplet=triplet,
        scaling=rules.homeostasis.rate > 0,
        credited=credited(stage),
        competing=(rules.competition.winner_boost, rules.competition.lateral_inhibition) != (1, 1),
        clustering=rules.enable_clustering,
        past=min(limits.LABELS_KEPT, math.ceil(stage.epochs / clusters.update_frequency)),
        morphology=morphology.morphology_tracking,
        free_ticks=morphology.free_ticks if morphology.morphology_tracking else 0,
        persistent=rules.persist_traces,
        plain=plain(stage, kind),
        on_cpu=kind == "cpu",
        task=task,
    )


def stores(stage: Stage) -> bool:
    """Whether strengths change while patterns are shown, for as long as these are recalled."""
    return stage.plasticity.enable_plasticity and stage.plasticity.when == "forward"


def credited(stage: Stage) -> bool:
    """Whether strengths follow a third factor."""
    return stage.plasticity.enable_plasticity and stage.plasticity.three_factor.rate > 0


def _observed(stage: Stage, task: Load) -> int:
    """Samples whose activity feeds the rules at once."""
    rules, batch = stage.plasticity, stage.batch_size
    if not rules.enable_plasticity:
        return 0
    if stores(stage) and task.stored:
        return task.stored
    return min(rules.stdp.samples or batch, batch)


def plain(stage: Stage, kind: str) -> bool:
    """Whether the step will run in plain torch, as far as can be seen without trying.

    On a CPU what compiles it decides; on a GPU the rule's width, and the C compiler that Triton
    asks for. Its check needs the device: where that fails, plain torch takes more and the run
    steps down.
    """
    missing = slow_path() if kind == "cpu" else fused_missing(stage)
    return not compilable(stage) or missing is not None


def compilable(stage: Stage) -> bool:
    """Whether a compiled step is asked for, and can be: rules of one's own have none."""
    return stage.lattice.backend != "plain" and stage.lattice.rule in CELL_RULES


def fused_missing(stage: Stage) -> str | None:
    """What the fused step on a GPU lacks here, whatever the GPU; None where nothing is missing."""
    lattice = stage.lattice
    asked = {"channels": lattice.channels, "hidden": lattice.hidden, "kernels": lattice.kernels}
    for (what, value), most in zip(asked.items(), limits.FUSED_WIDTHS, strict=True):
        if value > most:
            return f"lattice.{what} {value} is more than the fused step's {most}"
    if not (os.environ.get("CC") or _c_compiler(os.environ.get("PATH"))):
        return "no C compiler (cc, gcc or clang), which Triton needs, is here"
    return None


@functools.cache
def _c_compiler(path: str | None) -> str | None:
    found = (shutil.which(name, path=path) for name in ("cc", "gcc", "clang"))
    return next((one for one in found if one), None)


def cells(dimensions: Triple) -> int:
    return math.prod(dimensions)


def ticks(stage: Stage) -> int:
    """T, the updates of one presentation."""
    return stage.lattice.ticks or stage.lattice.dimensions[2] + 2


def neighbour_pairs(dimensions: Triple, periodic: bool) -> int:
    """Ordered (cell, neighbour) pairs: along an axis a cell sees itself and one to each side,
    which the two ends of a closed axis lack; z is always closed."""
    x, y, z = dimensions
    seen = (3 * x * 3 * y if periodic else (3 * x - 2) * (3 * y - 2)) * (3 * z - 2)
    return seen - cells(dimensions)


def connections(stage: Stage) -> int:
    """E, the connections that exist."""
    lattice = stage.lattice
    density = lattice.connection_density or 1.0
    return round(density * neighbour_pairs(lattice.dimensions, lattice.periodic))
