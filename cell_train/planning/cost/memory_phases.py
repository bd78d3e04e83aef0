"""What is alive in each phase of a stage, in bytes, from its sizes alone: docs/memory.md.

A phase is a dict from what holds the memory to its bytes; a stage's peak is the largest sum.
"""

import math

from cell_train import limits
from cell_train.planning.cost.sizes import Sizes
from cell_train.tasks.plan import F

Phase = dict[str, int]


def peaks(s: Sizes) -> dict[str, Phase]:
    """The phases of a stage that can be its peak."""
    gradients = {"gradients": F * s.parameters}
    last_micro_batch = {
        "forward": _forward(s),
        "decoder": _decoding(s),
        "faces": _reading(s),
        "backward": _backward(s),
        "writing": _writing(s),
    }
    before = _kept(s, s.accumulation - 1)
    there = gradients if s.accumulation > 1 else {}
    phases = {name: before | own | there for name, own in last_micro_batch.items()}
    phases["evaluation"] = _evaluation(s)
    if s.observed:
        phases["plasticity"] = {**gradients, "plasticity": _plasticity(s)}
        phases["listing"] = {**gradients, **_kept(s, s.accumulation), "start": _listing(s)}
        phases["listing"]["optimizer"] = 0  # at the first step, before its moments exist
    if s.clustering:
        phases["clustering"] = _clustering(s)
    if s.morphology and s.on_cpu:
        phases["morphology"] = {"morphology": 170 * s.cells + F * s.connections}
    if s.free_ticks:
        phases["emergence"] = {"working": _free_run(s)}
    phases["portrait"] = {"working": _probing(s)}
    lasting = _lasting(s)
    phases = {name: lasting | own for name, own in phases.items()}
    if s.on_cpu:
        phases["start"] = {"parameters": F * s.rule, "start": _wiring(s)}
    return phases


def _lasting(s: Sizes) -> Phase:
    """What lasts from one step to the next."""
    n, e = s.cells, s.connections
    connections = 12 * n + F * e + F * n  # mask, start, strength; BCM's threshold
    if s.observed or s.clustering or s.inhibition:
        connections += 26 * n + 24 * e  # exists, place, cell, source
    elif s.morphology or s.plain:
        connections += 26 * n + (16 if s.morphology else 8) * e  # exists, place, perhaps cell
    if s.fused:  # the strengths once more, by offset
        connections += 104 * n
    if s.persistent and s.observed:
        connections += 2 * F * n * s.observed
    if s.scaling:
        connections += F * n
    if s.credited:
        connections += F * e
    connections += F * e * (2 * s.stores + s.inhibition)  # of this memory and the last one
    if s.clustering:
        connections += 5 * e + 8 * n * s.past  # affinity, labels
    phase = {
        "parameters": F * s.parameters,
        "optimizer": 2 * F * s.parameters,
        "connections": connections,
        "morphology": 97 * n if s.morphology and s.on_cpu else 0,  # its table of modes
    }
    return phase | {"data": s.task.data}


def _kept(s: Sizes, micro_batches: int) -> Phase:
    """Activity that plasticity waits for."""
    if s.stores:  # not for other memories
        return {"history": 0}
    parts = min(micro_batches, math.ceil(s.observed / s.micro_batch))
    return {"history": F * s.cells * s.ticks * s.micro_batch * parts}


def _record(s: Sizes) -> int:
    """One micro-batch's activity."""
    return F * s.cells * s.ticks * s.micro_batch


def _stored(s: Sizes) -> int:
    return math.ceil(s.ticks / s.segment) * s.state * s.width


def _drive(s: Sizes) -> int:
    """What is written on a face, or on all cells, or read from it."""
    return F * s.task.drive * s.micro_batch


def _tick(s: Sizes) -> int:
    """The forward of one tick: cells before, with x written into them, and after."""
    if s.fused:  # which keeps cells as they are stored
        return 2 * s.width * s.state
    rounding = s.state * s.width if s.width < F else 0
    return 2 * F * s.state + max(rounding, _plain_forward(s) if s.plain else 0)


def _forward(s: Sizes) -> Phase:
    working = _tick(s)
    if (s.width == F or s.fused) and (s.segment == 1 or (s.ticks - 1) % s.segment == 0):
        working -= s.width * s.state  # the cells before are the ones just stored
    return {"activity": _record(s), "states": _stored(s), "working": working + _drive(s)}


def _decoding(s: Sizes) -> Phase:
    """The task's loss and its backward pass, the lattice's states waiting."""
    waiting = {"activity": _record(s), "states": _stored(s), "faces": 2 * _drive(s)}
    return waiting | {"decoder": s.task.scoring}


def _reading(s: Sizes) -> Phase:
    """The output face's map gets its gradient, the lattice's states waiting."""
    phase = {
        "activity": _record(s),
        "states": _stored(s),
        "faces": 2 * _drive(s) + F * s.task.map,
    }
    if s.accumulation == 1:
        phase["gradients"] = F * s.task.decoder
    return phase


def _backward(s: Sizes) -> Phase:
    """Inside the backward pass of a tick, at the beginning of a full segment."""
    recomputed = s.segment - 1 if s.width == F else max(s.segment - 2, 0)
    working = F * s.state if s.width < F and not s.fused else 0  # the cells in float32
    working += 3 * F * s.state  # gradients of the last cells of all, of the next and of these
    working += _plain_backward(s) if s.plain else F * s.kernels * s.state
    working += limits.GRADIENT_SLAB + F * limits.GRADIENT_PROGRAMS * s.rule if s.fused else 0
    if s.credited:  # a tick's inner products and their sum; or at last, each with its kernel
        working = max(working + 8 * s.connections, F * s.state + 16 * s.connections)
    phase = {
        "activity": _record(s),
        "states": _stored(s),
        "working": recomputed * s.width * s.state + working + 4 * _drive(s),
    }
    if s.accumulation == 1:
        phase["gradients"] = F * (s.task.map + s.task.decoder)
    return phase


def _writing(s: Sizes) -> Phase:
    """The input face's map gets its gradient, the last of all; the lattice's states are gone."""
    again = F * s.task.map if s.accumulation > 1 else 0  # until it is added to what is there
    return {
        "activity": _record(s),
        "faces": _drive(s) + again,
        "gradients": F * s.parameters,
    }


def _plain_forward(s: Sizes) -> int:
    """What a tick in plain torch holds beside the cells: at its end, or in a wide hidden layer."""
    c, h, k = s.channels, s.hidden, s.kernels
    return F * s.cells * s.micro_batch * max(c * (k + 5) + h + 1, c * (k - 1) + 2 * h)


def _plain_backward(s: Sizes) -> int:
    """What autograd holds at most of a tick in plain torch: on its way into the aggregation, at
    the gate, or in a wide hidden layer."""
    c, h, k = s.channels, s.hidden, s.kernels
    wide = max(c * (2 * k + 12) + h + 3, c * (k + 14) + h + 3, c * (k + 4) + 3 * h + 1)
    return F * s.cells * s.micro_batch * wide


def _plasticity(s: Sizes) -> int:
    """Spikes and their traces, or after them the projection."""
    n, e = s.cells, s.connections
    activity = F * n * s.ticks * s.observed
    gathering = activity + F * n * s.ticks * math.ceil(s.observed / s.micro_batch) * s.micro_batch
    means, lasts = (2, 8) if s.triplet else (1, 3)  # over the samples; of traces and residues
    tail = F * n * (means * s.ticks + lasts * s.observed)
    spiking = max(3 * activity + F * n * s.ticks, s.copies * activity + 20 * e) + tail
    rows = 4 * 104 + 26 if s.competing else 3 * 104  # of N x 26 before, after and in between
    block = 60 * 26 * min(n, limits.PROJECTION_BLOCK)
    if not s.on_cpu:
        block = 130 * 26 * min(n, limits.DEVICE_PROJECTION_BLOCK)
    projecting = activity + tail + rows * n + 12 * e + block
    return max(gathering, spiking, projecting)


def _listing(s: Sizes) -> int:
    """The ends of the connections, listed once."""
    return 32 * s.connections


def _profile(s: Sizes) -> int:
    """Numbers of a cell's activity profile: all ticks of a few samples."""
    return s.ticks * min(max(limits.PROBE_NUMBERS // s.ticks, 2), s.task.training)


def _probing(s: Sizes) -> int:
    """Presentations whose whole activity is kept, and then put together."""
    kept = F * s.cells * _profile(s)
    return max(kept + _tick(s) + _drive(s), 2 * kept)


def _clustering(s: Sizes) -> Phase:
    """The probe; or its groups, and noise grouped for comparison beside them (both on the CPU)."""
    n, wide = s.cells, _profile(s)
    profiles, ends = F * n * wide, 16 * s.connections
    sample = F * wide * min(n, limits.CLUSTERING_SAMPLE)
    grouping = max(6 * profiles, 5 * profiles + 320 * n) + sample + 40 * n
    told = grouping if s.on_cpu else profiles
    return {"clustering": max(_probing(s), told + ends, _listing(s))}


def _free_run(s: Sizes) -> int:
    """A presentation of a few samples that goes on without input, all its activity recorded."""
    tick = math.ceil(_tick(s) / s.micro_batch)
    samples = min(limits.FREE_TRIALS_TOGETHER, s.task.training)
    return samples * (F * s.cells * (s.ticks + s.free_ticks) + tick)


def _evaluation(s: Sizes) -> Phase:
    """Answers to the held-out samples, or what is compared with them afterwards."""
    presenting = _record(s) + _tick(s) + _drive(s)
    return {"working": max(presenting, s.task.judged), "decoder": s.task.answers}


def _wiring(s: Sizes) -> int:
    """Choosing the connections: ranks, strengths and what exists of [N, 26]."""
    return 254 * s.cells + 20 * s.pairs
