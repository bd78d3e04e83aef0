"""The bytes a stage takes at its peak, term by term, without torch.

Symbols as in the trainer: N cells, C channels, H hidden, K kernels, T ticks, B samples a forward
pass (the micro-batch), S samples whose activity feeds plasticity, E connections, D embedding.
"""

import math
from dataclasses import asdict, dataclass

from cell_train.config.schema import Stage, Triple

FLOAT = 4  # bytes
TRAINED = 16  # bytes per trained number: value, gradient and Adam's two moments
BASE = {  # bytes that are there whatever the stage
    "cpu": 330 << 20,  # Python and torch
    "cuda": 64 << 20,  # library workspaces; the context is taken off the budget
}


@dataclass(frozen=True)
class Footprint:
    """Peak bytes by what they hold."""

    stored: int  # states kept for the backward pass
    working: int  # one tick's forward and backward
    activity: int  # [T, S, N]
    plasticity: int  # spikes, traces, updates
    connections: int  # strengths and their index
    faces: int  # input and output maps with their optimizer
    decoder: int
    base: int

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
    stage: Stage, *, micro_batch: int, segment: int, precision: str, kind: str
) -> Footprint:
    """Predicted peak of one training step on a `kind` of device (cpu or cuda).

    `segment` is the number of ticks between stored states: with one, every tick's state is kept;
    with more, a segment's states are recomputed while the backward pass is inside it.
    """
    lattice, rules, text = stage.lattice, stage.plasticity, stage.text
    n, t = cells(lattice.dimensions), ticks(stage)
    state = n * micro_batch * lattice.channels  # numbers in one state
    width = FLOAT if precision == "fp32" else 2
    kept = math.ceil(t / segment) + (segment if segment > 1 else 0)
    observed = min(rules.stdp.samples or stage.batch_size, stage.batch_size)
    trace = FLOAT * t * n * observed
    histories = 9 if rules.plasticity_rule == "triplet" else 4  # spikes and traces held at once
    existing = connections(stage)
    d = text.embedding
    logits = 2 * FLOAT * micro_batch * stage.data.max_words * text.vocabulary
    return Footprint(
        stored=kept * state * width,
        working=_tick_states(stage, kind) * state * FLOAT,
        activity=trace,
        plasticity=histories * trace + 6 * FLOAT * existing if rules.enable_plasticity else 0,
        connections=FLOAT * existing + 12 * n,
        faces=2 * d * lattice.dimensions[0] * lattice.dimensions[1] * lattice.channels * TRAINED,
        decoder=TRAINED * decoder_numbers(stage) + logits if stage.task == "text" else 0,
        base=BASE[kind],
    )


def _tick_states(stage: Stage, kind: str) -> int:
    """One tick's forward and backward, in multiples of a state. The compiled CPU step holds its
    states and the K sums' gradients; in plain torch, which a GPU may fall back to, autograd holds
    a tick's every intermediate and its gradient (counted, not yet measured on hardware)."""
    lattice = stage.lattice
    if kind == "cpu":
        return lattice.kernels + 4
    wide = math.ceil(2 * lattice.hidden / lattice.channels)
    return 2 * (3 * lattice.kernels + wide + 12)


def decoder_numbers(stage: Stage) -> int:
    """Parameters of the decoder, for as many words as the vocabulary may hold."""
    v, d, h = stage.text.vocabulary, stage.text.embedding, stage.text.decoder_hidden
    return v * (d + 1) + 1 + 3 * h * (2 * d + h + 2) + d * (h + 1)


def checkpoint_bytes(stage: Stage) -> int:
    """One checkpoint on disk: trained numbers with their moments, and the connections."""
    lattice, text = stage.lattice, stage.text
    x, y, _ = lattice.dimensions
    faces = 2 * text.embedding * x * y * lattice.channels
    trained = faces + (decoder_numbers(stage) if stage.task == "text" else 0)
    return 3 * FLOAT * trained + 26 * FLOAT * cells(lattice.dimensions)
