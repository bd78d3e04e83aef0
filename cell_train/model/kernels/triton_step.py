"""The step on CUDA in Triton: gather, shared rule and gated update in one kernel.

Checked by Triton's interpreter, which runs it on a CPU, and compiled for NVIDIA architectures
without one being there; not yet run on hardware. `kernels.choose` therefore takes it only after
comparing it with the definition on the device itself.

A program handles one sample of a cube of cells, so that neighbours are read from nearby memory
mostly and a strength once a sample. Widths are padded to powers of two and masked. Sums over
programs go through partial buffers that torch adds up: without atomics, results repeat.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from cell_train.model.cell_rule import EPSILON, RuleWeights
from cell_train.model.lattice import NEIGHBOURS, Connections

SIDE = tl.constexpr(4)  # of the cube of cells a program handles
ROWS = tl.constexpr(64)  # SIDE ** 3 cells
OFFSETS = tl.constexpr(NEIGHBOURS)
DAMPING = tl.constexpr(EPSILON)
# Three passes of TF32 give float32's accuracy on tensor cores; one would lose half the digits.
PRECISION = tl.constexpr("tf32x3")
ENDS = 32  # cells a program of the dot over connections handles
LENGTH = 64  # numbers it multiplies at once
# Programs that sum weight gradients before they are added up: enough to fill a GPU, and fixed, so
# that the order of the sum does not depend on which GPU it is.
PROGRAMS = 512


@triton.jit
def _cube(index: tl.tensor, X: tl.tensor, Y: tl.tensor, Z: tl.tensor) -> tl.tensor:
    """Where the ROWS cells of cube `index` lie, and which of them are in the lattice."""
    row = tl.arange(0, ROWS)
    deep, wide = tl.cdiv(Z, SIDE), tl.cdiv(Y, SIDE)
    x = index // (deep * wide) * SIDE + row // (SIDE * SIDE)
    y = index // deep % wide * SIDE + row // SIDE % SIDE
    z = index % deep * SIDE + row % SIDE
    return x, y, z, (x < X) & (y < Y) & (z < Z)


@triton.jit
def _neighbour(
    x: tl.tensor, y: tl.tensor, z: tl.tensor, o: tl.tensor, sign: tl.constexpr, X: tl.tensor,
    Y: tl.tensor, Z: tl.tensor, PERIODIC: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """The cells `sign` times offset `o` away, and which of them are in the lattice."""
    code = o + (o >= 13)  # offsets run through 3 x 3 x 3 without the centre
    x += sign * (code // 9 - 1)
    y += sign * (code // 3 % 3 - 1)
    z += sign * (code % 3 - 1)
    if PERIODIC:
        x = tl.where(x < 0, x + X, tl.where(x >= X, x - X, x))
        y = tl.where(y < 0, y + Y, tl.where(y >= Y, y - Y, y))
    inside = (x >= 0) & (x < X) & (y >= 0) & (y < Y) & (z >= 0) & (z < Z)
    return (x * Y + y) * Z + z, inside


@triton.jit
def _ones_below(bits: tl.tensor, o: tl.tensor) -> tl.tensor:
    """How many of the bits below bit `o` are set."""
    n = bits & ((1 << o) - 1)
    n = n - ((n >> 1) & 0x55555555)
    n = (n & 0x33333333) + ((n >> 2) & 0x33333333)
    n = (n + (n >> 4)) & 0x0F0F0F0F
    n = n + (n >> 8)
    return (n + (n >> 16)) & 31


@triton.jit
def _gather(
    cells: tl.tensor, kernel: tl.tensor, mask: tl.tensor, start: tl.tensor, strength: tl.tensor,
    x: tl.tensor, y: tl.tensor, z: tl.tensor, inside: tl.tensor, sample: tl.tensor, X: tl.tensor,
    Y: tl.tensor, Z: tl.tensor, batch: tl.tensor, PERIODIC: tl.constexpr, C: tl.constexpr,
    K: tl.constexpr, CP: tl.constexpr, KP: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """[ROWS, KP, CP]: what the kernels see of the neighbours of each cell."""
    here = (x * Y + y) * Z + z
    bits = tl.load(mask + here, inside, 0)
    at = tl.load(start + here, inside, 0)
    k = tl.arange(0, KP)[None, :, None]
    c = tl.arange(0, CP)[None, None, :]
    seen = tl.zeros([ROWS, KP, CP], tl.float32)
    for o in range(OFFSETS):
        # A connection never leaves the borders: the bit is all there is to ask.
        there, _ = _neighbour(x, y, z, o, 1, X, Y, Z, PERIODIC)
        exists = ((bits >> o) & 1) != 0
        weight = tl.load(strength + at, exists, 0.0)
        at += exists.to(tl.int64)
        first = (there.to(tl.int64) * batch + sample) * C
        state = tl.load(
            cells + first[:, None, None] + c, exists[:, None, None] & (c < C), other=0.0
        )
        seen += tl.load(kernel + k * OFFSETS + o, k < K, 0.0) * (weight[:, None, None] * state)
    return seen


@triton.jit
def _weights(
    w1: tl.tensor, b1: tl.tensor, w2: tl.tensor, b2: tl.tensor, C: tl.constexpr, K: tl.constexpr,
    H: tl.constexpr, CP: tl.constexpr, KP: tl.constexpr, HP: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """w1 for the state and for what is perceived, b1, then w2 and b2 of the update and the gate."""
    c, kc, h = tl.arange(0, CP), tl.arange(0, KP * CP), tl.arange(0, HP)
    per_state = (c < C)[:, None] & (h < H)[None, :]
    per_seen = ((kc // CP < K) & (kc % CP < C))[:, None] & (h < H)[None, :]
    behind = C + kc // CP * C + kc % CP  # the row of w1 for channel c as kernel k sees it
    per_out = (h < H)[:, None] & (c < C)[None, :]
    at_out = h[:, None] * (2 * C) + c[None, :]
    return (
        tl.load(w1 + c[:, None] * H + h[None, :], per_state, 0.0),
        tl.load(w1 + behind[:, None] * H + h[None, :], per_seen, 0.0),
        tl.load(b1 + h, h < H, 0.0),
        tl.load(w2 + at_out, per_out, 0.0),
        tl.load(w2 + at_out + C, per_out, 0.0),
        tl.load(b2 + c, c < C, 0.0),
        tl.load(b2 + C + c, c < C, 0.0),
    )


@triton.jit
def _rule(
    state: tl.tensor, seen: tl.tensor, w1s: tl.tensor, w1p: tl.tensor, b1: tl.tensor,
    w2u: tl.tensor, w2g: tl.tensor, b2u: tl.tensor, b2g: tl.tensor, C: tl.constexpr,
    CP: tl.constexpr, KP: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """What a cell sees, the hidden layer, the candidate's direction, scale and share, the gate's
    logits and the gate; the candidate is share * direction, and padded channels are 0."""
    flat = tl.reshape(seen, [ROWS, KP * CP])
    hidden = tl.dot(state, w1s, input_precision=PRECISION)
    hidden = tl.dot(flat, w1p, hidden, input_precision=PRECISION) + b1[None, :]
    hidden = tl.maximum(hidden, 0.0)
    first = tl.sum(tl.where(tl.arange(0, KP)[None, :, None] == 0, seen, 0.0), 1)
    candidate = first + tl.dot(hidden, w2u, input_precision=PRECISION) + b2u[None, :]
    power = tl.sum(candidate * candidate, 1) / C
    scale = tl.rsqrt(power + DAMPING)
    logit = tl.dot(hidden, w2g, input_precision=PRECISION) + b2g[None, :]
    gate = 0.5 + 0.5 * logit / (1.0 + tl.abs(logit))
    return flat, hidden, candidate * scale[:, None], scale, power * scale * scale, logit, gate


@triton.jit
def _forward(
    cells: tl.tensor, following: tl.tensor, activity: tl.tensor, kernel: tl.tensor, w1: tl.tensor,
    b1: tl.tensor, w2: tl.tensor, b2: tl.tensor, mask: tl.tensor, start: tl.tensor,
    strength: tl.tensor, per_cell: tl.tensor, per_sample: tl.tensor, X: tl.tensor, Y: tl.tensor,
    Z: tl.tensor, batch: tl.tensor, PERIODIC: tl.constexpr, C: tl.constexpr, K: tl.constexpr,
    H: tl.constexpr, CP: tl.constexpr, KP: tl.constexpr, HP: tl.constexpr,
) -> None:  # fmt: skip
    """A program: one tick of one sample of a cube. `activity` has the given strides."""
    sample = tl.program_id(0) % batch
    x, y, z, inside = _cube(tl.program_id(0) // batch, X, Y, Z)
    here = ((x * Y + y) * Z + z).to(tl.int64)
    c = tl.arange(0, CP)
    at = ((here * batch + sample) * C)[:, None] + c[None, :]
    own = inside[:, None] & (c < C)[None, :]
    state = tl.load(cells + at, own, 0.0)
    seen = _gather(
        cells, kernel, mask, start, strength,
        x, y, z, inside, sample, X, Y, Z, batch, PERIODIC, C, K, CP, KP,
    )  # fmt: skip
    w1s, w1p, b1v, w2u, w2g, b2u, b2g = _weights(w1, b1, w2, b2, C, K, H, CP, KP, HP)
    _, _, unit, _, share, _, gate = _rule(
        state, seen, w1s, w1p, b1v, w2u, w2g, b2u, b2g, C, CP, KP
    )  # fmt: skip
    change = gate * (share[:, None] * unit - state)
    tl.store(following + at, state + change, own)
    total = tl.sum(tl.where(own, tl.abs(change), 0.0), 1)
    tl.store(activity + here * per_cell + sample * per_sample, total / C, inside)


@triton.jit
def _backward(
    cells: tl.tensor, d_next: tl.tensor, d_cells: tl.tensor, d_seen: tl.tensor, partial: tl.tensor,
    kernel: tl.tensor, w1: tl.tensor, b1: tl.tensor, w2: tl.tensor, b2: tl.tensor, mask: tl.tensor,
    start: tl.tensor, strength: tl.tensor, items: tl.tensor, X: tl.tensor, Y: tl.tensor,
    Z: tl.tensor, batch: tl.tensor, PERIODIC: tl.constexpr, C: tl.constexpr, K: tl.constexpr,
    H: tl.constexpr, CP: tl.constexpr, KP: tl.constexpr, HP: tl.constexpr,
) -> None:  # fmt: skip
    """A program: for some (cube, sample), what flows back within each cell.

    Sets d_cells [N, B, C] and d_seen [N, B, K, C], and partial [programs, G] to this program's
    share of the gradients of w1, b1, w2 and b2.
    """
    c, h, kc = tl.arange(0, CP), tl.arange(0, HP), tl.arange(0, KP * CP)
    d_w1s, d_w1p = tl.zeros([CP, HP], tl.float32), tl.zeros([KP * CP, HP], tl.float32)
    d_w2u, d_w2g = tl.zeros([HP, CP], tl.float32), tl.zeros([HP, CP], tl.float32)
    d_b1, d_b2u = tl.zeros([HP], tl.float32), tl.zeros([CP], tl.float32)
    d_b2g = tl.zeros([CP], tl.float32)
    for item in range(tl.program_id(0), items, tl.num_programs(0)):
        sample = item % batch
        x, y, z, inside = _cube(item // batch, X, Y, Z)
        row = ((x * Y + y) * Z + z).to(tl.int64) * batch + sample
        at = (row * C)[:, None] + c[None, :]
        own = inside[:, None] & (c < C)[None, :]
        state, d = tl.load(cells + at, own, 0.0), tl.load(d_next + at, own, 0.0)
        seen = _gather(
            cells, kernel, mask, start, strength,
            x, y, z, inside, sample, X, Y, Z, batch, PERIODIC, C, K, CP, KP,
        )  # fmt: skip
        # Read anew for every cube: kept over the loop they would fill registers or shared memory.
        w1s, w1p, b1v, w2u, w2g, b2u, b2g = _weights(w1, b1, w2, b2, C, K, H, CP, KP, HP)
        flat, hidden, unit, scale, share, logit, gate = _rule(
            state, seen, w1s, w1p, b1v, w2u, w2g, b2u, b2g, C, CP, KP
        )  # fmt: skip
        along = (2.0 - 3.0 * share) * tl.sum(d * gate * unit, 1) / C
        d_update = scale[:, None] * (d * gate * share[:, None] + unit * along[:, None])
        fall = 1.0 + tl.abs(logit)
        d_logit = d * (share[:, None] * unit - state) * 0.5 / (fall * fall)
        d_hidden = tl.dot(d_update, tl.trans(w2u), input_precision=PRECISION)
        d_hidden = tl.dot(d_logit, tl.trans(w2g), d_hidden, input_precision=PRECISION)
        d_hidden = tl.where(hidden > 0, d_hidden, 0.0)
        d_own = d * (1.0 - gate) + tl.dot(d_hidden, tl.trans(w1s), input_precision=PRECISION)
        tl.store(d_cells + at, d_own, own)
        d_flat = tl.dot(d_hidden, tl.trans(w1p), input_precision=PRECISION)
        k3, c3 = tl.arange(0, KP)[None, :, None], c[None, None, :]
        d_three = tl.reshape(d_flat, [ROWS, KP, CP])
        d_three += tl.where(k3 == 0, d_update[:, None, :], 0.0)
        at_seen = d_seen + (row * (K * C))[:, None, None] + k3 * C + c3
        tl.store(at_seen, d_three, inside[:, None, None] & (k3 < K) & (c3 < C))
        d_w1s = tl.dot(tl.trans(state), d_hidden, d_w1s, input_precision=PRECISION)
        d_w1p = tl.dot(tl.trans(flat), d_hidden, d_w1p, input_precision=PRECISION)
        d_w2u = tl.dot(tl.trans(hidden), d_update, d_w2u, input_precision=PRECISION)
        d_w2g = tl.dot(tl.trans(hidden), d_logit, d_w2g, input_precision=PRECISION)
        d_b1 += tl.sum(d_hidden, 0)
        d_b2u += tl.sum(d_update, 0)
        d_b2g += tl.sum(d_logit, 0)
    W2: tl.constexpr = (1 + K) * C * H + H  # where w2 begins among a program's gradients
    G: tl.constexpr = W2 + H * 2 * C + 2 * C
    into = partial + tl.program_id(0) * G
    wide = (h < H)[None, :]
    behind = C + kc // CP * C + kc % CP
    exists = ((kc // CP < K) & (kc % CP < C))[:, None] & wide
    tl.store(into + c[:, None] * H + h[None, :], d_w1s, (c < C)[:, None] & wide)
    tl.store(into + behind[:, None] * H + h[None, :], d_w1p, exists)
    tl.store(into + (W2 - H) + h, d_b1, h < H)
    out = into + W2 + h[:, None] * (2 * C) + c[None, :]
    per_out = (h < H)[:, None] & (c < C)[None, :]
    tl.store(out, d_w2u, per_out)
    tl.store(out + C, d_w2g, per_out)
    tl.store(into + (G - 2 * C) + c, d_b2u, c < C)
    tl.store(into + (G - C) + c, d_b2g, c < C)


@triton.jit
def _gather_back(
    cells: tl.tensor, d_cells: tl.tensor, d_seen: tl.tensor, along: tl.tensor, kernel: tl.tensor,
    mask: tl.tensor, start: tl.tensor, strength: tl.tensor, X: tl.tensor, Y: tl.tensor,
    Z: tl.tensor, batch: tl.tensor, PERIODIC: tl.constexpr, C: tl.constexpr, K: tl.constexpr,
    CP: tl.constexpr,
) -> None:  # fmt: skip
    """A program: a sample of a cube collects from the cells that read it.

    Adds to d_cells [N, B, C]; sets along [programs, K, 26], its share of the kernels' gradient.
    """
    sample = tl.program_id(0) % batch
    x, y, z, inside = _cube(tl.program_id(0) // batch, X, Y, Z)
    c = tl.arange(0, CP)
    here = ((x * Y + y) * Z + z).to(tl.int64)
    at = ((here * batch + sample) * C)[:, None] + c[None, :]
    own = inside[:, None] & (c < C)[None, :]
    state, total = tl.load(cells + at, own, 0.0), tl.load(d_cells + at, own, 0.0)
    for o in range(OFFSETS):
        reader, there = _neighbour(x, y, z, o, -1, X, Y, Z, PERIODIC)
        bits = tl.load(mask + reader, inside & there, 0)
        reads = ((bits >> o) & 1) != 0
        slot = tl.load(start + reader, reads, 0) + _ones_below(bits, o)
        weight = tl.load(strength + slot, reads, 0.0)
        row = d_seen + (reader.to(tl.int64) * batch + sample) * (K * C)
        for k in tl.static_range(K):
            d = tl.load(
                row[:, None] + k * C + c[None, :], reads[:, None] & (c < C)[None, :], other=0.0
            )
            total += (tl.load(kernel + k * OFFSETS + o) * weight)[:, None] * d
            meant = tl.sum(tl.sum(d * state, 1) * weight, 0)
            tl.store(along + (tl.program_id(0) * K + k) * OFFSETS + o, meant)
    tl.store(d_cells + at, total, own)


@triton.jit
def _connection_dot(
    a: tl.tensor, b: tl.tensor, product: tl.tensor, mask: tl.tensor, start: tl.tensor,
    length: tl.tensor, X: tl.tensor, Y: tl.tensor, Z: tl.tensor, PERIODIC: tl.constexpr,
    ENDS: tl.constexpr, LENGTH: tl.constexpr,
) -> None:  # fmt: skip
    """A program: one offset of ENDS cells."""
    o = tl.program_id(0) % OFFSETS
    cell = tl.program_id(0) // OFFSETS * ENDS + tl.arange(0, ENDS)
    bits = tl.load(mask + cell, cell < X * Y * Z, 0)
    exists = ((bits >> o) & 1) != 0
    there, _ = _neighbour(cell // (Y * Z), cell // Z % Y, cell % Z, o, 1, X, Y, Z, PERIODIC)
    slot = tl.load(start + cell, exists, 0) + _ones_below(bits, o)
    at, seen = a + cell.to(tl.int64) * length, b + there.to(tl.int64) * length
    total = tl.zeros([ENDS, LENGTH], tl.float32)
    for first in range(0, length, LENGTH):
        n = first + tl.arange(0, LENGTH)[None, :]
        both = exists[:, None] & (n < length)
        left = tl.load(at[:, None] + n, both, 0.0).to(tl.float32)
        total += left * tl.load(seen[:, None] + n, both, 0.0).to(tl.float32)
    tl.store(product + slot, tl.sum(total, 1), exists)


def forward(connections: Connections, rule: RuleWeights, cells: Tensor, activity: Tensor) -> Tensor:
    """One tick; `activity` [N, B] is filled in place and may be a slice of a larger record."""
    following = torch.empty_like(cells)
    wiring = (connections.mask, connections.start, connections.strength)
    weights = [w.detach().contiguous() for w in rule]
    _forward[(_items(connections, cells),)](
        cells, following, activity, *weights, *wiring, *activity.stride(),
        *connections.dimensions, cells.shape[3], connections.periodic, *_widths(rule),
    )  # fmt: skip
    return following


def backward(
    connections: Connections, rule: RuleWeights, cells: Tensor, d_next: Tensor
) -> tuple[Tensor, RuleWeights]:
    """Gradients of one tick; the forward is recomputed cell by cell, nothing was stored."""
    items = _items(connections, cells)
    programs = min(items, PROGRAMS)
    c, k, _, cp, *_ = widths = _widths(rule)
    d_cells, d_seen = torch.empty_like(cells), cells.new_empty(k * cells.numel())
    shared = [w.detach().contiguous() for w in rule]
    partial = cells.new_empty(programs, sum(w.numel() for w in rule[1:]))
    along = cells.new_empty(items, *rule.kernel.shape)
    wiring = (connections.mask, connections.start, connections.strength)
    where = (*connections.dimensions, cells.shape[3], connections.periodic)
    _backward[(programs,)](
        cells, d_next.contiguous(), d_cells, d_seen, partial, *shared, *wiring, items,
        *where, *widths,
    )  # fmt: skip
    _gather_back[(items,)](cells, d_cells, d_seen, along, shared[0], *wiring, *where, c, k, cp)
    parts = partial.sum(0).split([w.numel() for w in rule[1:]])
    shaped = [part.view(w.shape) for part, w in zip(parts, rule[1:], strict=True)]
    return d_cells, RuleWeights(along.sum(0), *shaped)


def connection_dot(connections: Connections, a: Tensor, b: Tensor) -> Tensor:
    """[E]: for each connection the inner product of `a` [N, L] at its cell, `b` at its source.

    Sums are float32.
    """
    product = torch.empty_like(connections.strength)
    _connection_dot[(triton.cdiv(connections.cells, ENDS) * NEIGHBOURS,)](
        a.contiguous(), b.contiguous(), product, connections.mask, connections.start, a.shape[1],
        *connections.dimensions, connections.periodic, ENDS, LENGTH,
    )  # fmt: skip
    return product


def _items(connections: Connections, cells: Tensor) -> int:
    """Cubes times samples."""
    x, y, z = (triton.cdiv(size, SIDE.value) for size in connections.dimensions)
    return x * y * z * cells.shape[3]


def _widths(rule: RuleWeights) -> tuple[int, int, int, int, int, int]:
    """C, K, H and what they are padded to: a matrix product takes no less than 16."""
    c, k, h = rule.b2.numel() // 2, rule.kernel.shape[0], rule.b1.numel()
    cp, kp, hp = (triton.next_power_of_2(n) for n in (c, k, h))
    return c, k, h, max(cp, 16), kp, max(hp, 16)
