"""The bytes a stage takes at its peak, phase by phase, without torch.

Which phase is the peak depends on the stage: phases.py counts what is alive in each. What no
formula gives is in `SHIPPED`, or what `celltrain calibrate` measured (calibration.py).
"""

import math
import os
import platform
import shutil
from dataclasses import asdict, dataclass, fields

from cell_train.config.schema import Stage, Triple
from cell_train.planning.phases import Phase, Sizes, peaks
from cell_train.tasks.text.facts import facts

FLOAT = 4  # bytes
PAST = 6  # clusterings whose labels are kept, as in training/adaptation.py
EVALUATED = 64  # held-out samples decoded at once, as tasks/text/task.py does


@dataclass(frozen=True)
class Constants:
    """What no formula gives."""

    base: int  # bytes a worker takes beside its tensors, less what the budget has taken off
    allocator: float  # bytes lost between tensors, for each byte of them


SHIPPED = {
    # Python and torch; what glibc's heap loses at most (docs/memory.md); an AMD EPYC, 2026-11-23
    "cpu": Constants(410 << 20, 0.8),
    "cuda": Constants(64 << 20, 0.02),  # library workspaces; a guess
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
        return sum(asdict(self).values())


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
        sizes(stage, micro_batch=micro_batch, segment=segment, precision=precision, kind=kind)
    )


def sizes(stage: Stage, *, micro_batch: int, segment: int, precision: str, kind: str) -> Sizes:
    """What phases.py needs of a stage; also all that its memory depends on."""
    lattice, rules, text, data = stage.lattice, stage.plasticity, stage.text, stage.data
    stdp = rules.stdp
    x, y, _ = lattice.dimensions
    everywhere = stage.task == "recall"  # written on every cell, one number each
    morphology = rules.emergence_config
    known = facts(data)
    return Sizes(
        cells=cells(lattice.dimensions),
        face=x * y,
        drive=cells(lattice.dimensions) if everywhere else x * y * lattice.channels,
        channels=lattice.channels,
        hidden=lattice.hidden,
        kernels=lattice.kernels,
        ticks=ticks(stage),
        pairs=neighbour_pairs(lattice.dimensions, lattice.periodic),
        connections=connections(stage),
        # a memory's patterns are recalled together, those of two memories never
        micro_batch=min(micro_batch, stage.recall.patterns) if everywhere else micro_batch,
        accumulation=stage.batch_size // micro_batch,
        segment=segment,
        width=FLOAT if precision == "fp32" else 2,
        observed=_observed(stage),
        stores=stores(stage),
        patterns=stage.recall.patterns if everywhere else 0,
        inhibition=lattice.inhibition,
        copies=(8 if rules.plasticity_rule == "triplet" else 3) + (stdp.coincidence != "exclusive"),
        scaling=rules.homeostasis.rate > 0,
        competing=(rules.competition.winner_boost, rules.competition.lateral_inhibition) != (1, 1),
        clustering=rules.enable_clustering,
        past=min(PAST, math.ceil(stage.epochs / rules.clustering_config.update_frequency)),
        morphology=morphology.morphology_tracking,
        free_ticks=morphology.free_ticks if morphology.morphology_tracking else 0,
        persistent=rules.persist_traces,
        plain=not compiled(stage, kind),
        on_cpu=kind == "cpu",
        text=stage.task == "text",
        embedding=0 if everywhere else text.embedding,
        vocabulary=min(text.vocabulary, known.words + 3),
        words=min(data.max_words, known.longest) + 1,
        length=data.max_words + 1,
        decoder_hidden=text.decoder_hidden,
        encoder=text.encoder,
        beam=text.beam,
        training=stage.dataset_limit if everywhere else min(stage.dataset_limit, known.training),
        held_out=min(data.held_out, known.held_out),
        evaluated=min(EVALUATED, data.held_out, known.held_out),
    )


def stores(stage: Stage) -> bool:
    """Whether strengths change while patterns are shown, for as long as these are recalled."""
    return stage.plasticity.enable_plasticity and stage.plasticity.when == "forward"


def _observed(stage: Stage) -> int:
    """Samples whose activity feeds the rules at once."""
    rules, batch = stage.plasticity, stage.batch_size
    if not rules.enable_plasticity:
        return 0
    if stores(stage):  # a memory's patterns and their inverses
        return 2 * min(stage.recall.patterns, batch)
    return min(rules.stdp.samples or batch, batch)


def compiled(stage: Stage, kind: str) -> bool:
    """Whether the step will be a compiled one, as far as can be seen without trying.

    On a CPU a C++ compiler decides; on a GPU the Triton step is taken for granted, as its check
    needs the device: where it fails, plain torch takes more and the run steps down.
    """
    if stage.lattice.backend == "plain" or stage.lattice.rule not in ("gated", "isotropic"):
        return False
    if kind != "cpu":
        return True
    found = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    return bool(found) and platform.system() == "Linux"


def decoder_numbers(stage: Stage) -> int:
    """Parameters of the decoder, for as many words as the vocabulary may hold."""
    v, d, h = stage.text.vocabulary, stage.text.embedding, stage.text.decoder_hidden
    return v * (d + 1) + 1 + 3 * h * (2 * d + h + 2) + d * (h + 1)


def checkpoint_bytes(stage: Stage) -> int:
    """One checkpoint on disk: trained numbers with their moments, and the connections."""
    lattice, text = stage.lattice, stage.text
    x, y, _ = lattice.dimensions
    faces = 0 if stage.task == "recall" else 2 * text.embedding * x * y * lattice.channels
    trained = faces + (decoder_numbers(stage) if stage.task == "text" else 0)
    return 3 * FLOAT * trained + 26 * FLOAT * cells(lattice.dimensions)
