"""What the Triton programs share: the cells of a program, their neighbours, the rule on them.

A program handles CELLS cells, a block of the lattice, and SAMPLES samples of each, as a tile
[SAMPLES, CELLS, CP]. A thread then holds several samples of one cell: what it takes to find a
neighbour is done once for all of them, and the addresses of their states differ by a constant.
Offsets are unrolled, so that their steps and their bits are constants too.
"""

import triton
import triton.language as tl

from cell_train.model.cell_rule import EPSILON
from cell_train.model.lattice import NEIGHBOURS

DEEP = tl.constexpr(4)  # cells along z of a program's block
WIDE = tl.constexpr(4)  # along y; the rest along x
OFFSETS = tl.constexpr(NEIGHBOURS)
DAMPING = tl.constexpr(EPSILON)
LEADING = tl.constexpr(-8192)  # masks the bits of a float32 that TF32 keeps


@triton.jit
def block(
    index: tl.tensor, X: tl.tensor, Y: tl.tensor, Z: tl.tensor, CELLS: tl.constexpr
) -> tl.tensor:
    """Where the cells of block `index` lie, and which of them are in the lattice."""
    row = tl.arange(0, CELLS)
    long: tl.constexpr = CELLS // (WIDE * DEEP)
    down, across = tl.cdiv(Z, DEEP), tl.cdiv(Y, WIDE)
    x = index // (down * across) * long + row // (WIDE * DEEP)
    y = index // down % across * WIDE + row // DEEP % WIDE
    z = index % down * DEEP + row % DEEP
    return x, y, z, (x < X) & (y < Y) & (z < Z)


@triton.jit
def wrapped(at: tl.tensor, size: tl.tensor, step: tl.constexpr) -> tl.tensor:
    """How many cells further along a ring of `size` cells the neighbour at `step` lies."""
    if step > 0:
        return tl.where(at == size - 1, 1 - size, 1)
    elif step < 0:
        return tl.where(at == 0, size - 1, -1)
    else:
        return 0


@triton.jit
def away(
    x: tl.tensor, y: tl.tensor, X: tl.tensor, Y: tl.tensor, Z: tl.tensor, o: tl.constexpr,
    sign: tl.constexpr, PERIODIC: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """How many cells further in the lattice the neighbour at `sign` times offset `o` lies.

    One number for all cells in a closed lattice, one for each in a periodic one.
    """
    code: tl.constexpr = o + (1 if o >= 13 else 0)  # offsets run through 3 x 3 x 3, no centre
    dx: tl.constexpr = sign * (code // 9 - 1)
    dy: tl.constexpr = sign * (code // 3 % 3 - 1)
    dz: tl.constexpr = sign * (code % 3 - 1)
    if PERIODIC:
        return x * 0 + (wrapped(x, X, dx) * Y + wrapped(y, Y, dy)) * Z + dz
    else:
        return (dx * Y + dy) * Z + dz


@triton.jit
def within(
    x: tl.tensor, y: tl.tensor, z: tl.tensor, X: tl.tensor, Y: tl.tensor, Z: tl.tensor,
    o: tl.constexpr, sign: tl.constexpr, PERIODIC: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """Whether the neighbour at `sign` times offset `o` is inside the borders."""
    code: tl.constexpr = o + (1 if o >= 13 else 0)
    dx: tl.constexpr = sign * (code // 9 - 1)
    dy: tl.constexpr = sign * (code // 3 % 3 - 1)
    dz: tl.constexpr = sign * (code % 3 - 1)
    there = (z + dz >= 0) & (z + dz < Z)
    if not PERIODIC:
        there = there & (x + dx >= 0) & (x + dx < X) & (y + dy >= 0) & (y + dy < Y)
    return there


@triton.jit
def rows(cells: tl.tensor, here: tl.tensor, first: tl.tensor, batch: tl.tensor,
         C: tl.constexpr, CP: tl.constexpr) -> tl.tensor:  # fmt: skip
    """[1, CELLS, CP] pointers to sample `first` of the cells `here`."""
    c = tl.arange(0, CP)[None, None, :]
    return cells + (here.to(tl.int64) * (batch * C))[None, :, None] + (first * C + c)


@triton.jit
def gather(
    at: tl.tensor, own: tl.tensor, kernel: tl.tensor, dense: tl.tensor, here: tl.tensor,
    inside: tl.tensor, x: tl.tensor, y: tl.tensor, X: tl.tensor, Y: tl.tensor, Z: tl.tensor,
    batch: tl.tensor, PERIODIC: tl.constexpr, C: tl.constexpr, K: tl.constexpr,
    SAMPLES: tl.constexpr,
) -> tl.tuple:  # fmt: skip
    """K tiles [SAMPLES, CELLS, CP]: what each kernel sees of the neighbours of the cells `here`.

    `dense` [26, N] are strengths, `at` points to the cells' states; `own` says which numbers of a
    tile there are.
    """
    s = tl.arange(0, SAMPLES)[:, None, None] * C
    stride = (batch * C).to(tl.int64)
    count = (X * Y * Z).to(tl.int64)
    nothing = tl.zeros([SAMPLES, at.shape[1], at.shape[2]], tl.float32)
    seen = ()
    for k in tl.static_range(K):
        seen = seen + (nothing,)
    for o in tl.static_range(OFFSETS):
        # A connection never leaves the borders: where there is a strength, there is a neighbour.
        weight = tl.load(dense + o * count + here, inside, 0.0)
        steps = away(x, y, X, Y, Z, o, 1, PERIODIC).to(tl.int64) * stride
        there = at + (steps[None, :, None] if PERIODIC else steps)
        state = tl.load(there + s, (weight != 0)[None, :, None] & own, other=0.0).to(tl.float32)
        added = ()
        for k in tl.static_range(K):
            share = tl.load(kernel + k * OFFSETS + o) * weight
            added = added + (seen[k] + share[None, :, None] * state,)
        seen = added
    return seen


@triton.jit
def product(a: tl.tensor, b: tl.tensor, total: tl.tensor, TF32: tl.constexpr) -> tl.tensor:
    """total + a @ b, to float32's accuracy.

    Where there are tensor cores for TF32, in three passes: one would lose half the digits. Split
    here, since `tf32x3` asks of every number besides whether it is one.
    """
    if TF32:
        a1 = (a.to(tl.int32, bitcast=True) & LEADING).to(tl.float32, bitcast=True)
        b1 = (b.to(tl.int32, bitcast=True) & LEADING).to(tl.float32, bitcast=True)
        total = tl.dot(a - a1, b1, total, input_precision="tf32")
        total = tl.dot(a1, b - b1, total, input_precision="tf32")
        return tl.dot(a1, b1, total, input_precision="tf32")
    else:
        return tl.dot(a, b, total, input_precision="ieee")


@triton.jit
def into_hidden(w1: tl.tensor, part: tl.constexpr, C: tl.constexpr, H: tl.constexpr,
                CP: tl.constexpr, HP: tl.constexpr) -> tl.tensor:  # fmt: skip
    """[CP, HP]: the rows of w1 for the state (part 0) or for what kernel part - 1 sees."""
    c, h = tl.arange(0, CP)[:, None], tl.arange(0, HP)[None, :]
    return tl.load(w1 + (part * C + c) * H + h, (c < C) & (h < H), 0.0)


@triton.jit
def out_of_hidden(w2: tl.tensor, part: tl.constexpr, C: tl.constexpr, H: tl.constexpr,
                  CP: tl.constexpr, HP: tl.constexpr) -> tl.tensor:  # fmt: skip
    """[HP, CP]: the columns of w2 for the update (part 0) or for the gate (part 1)."""
    h, c = tl.arange(0, HP)[:, None], tl.arange(0, CP)[None, :]
    return tl.load(w2 + h * (2 * C) + part * C + c, (h < H) & (c < C), 0.0)


@triton.jit
def bias(b: tl.tensor, part: tl.constexpr, N: tl.constexpr, NP: tl.constexpr) -> tl.tensor:
    """[1, NP]: the N numbers of part `part`."""
    n = tl.arange(0, NP)
    return tl.load(b + part * N + n, n < N, 0.0)[None, :]


@triton.jit
def hidden_layer(
    state: tl.tensor, seen: tl.tuple, w1: tl.tensor, b1: tl.tensor, C: tl.constexpr,
    K: tl.constexpr, H: tl.constexpr, CP: tl.constexpr, HP: tl.constexpr, TF32: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """[M, HP], from rows `state` [M, CP] and K times `seen` [M, CP]."""
    hidden = tl.zeros([state.shape[0], HP], tl.float32) + bias(b1, 0, H, HP)
    hidden = product(state, into_hidden(w1, 0, C, H, CP, HP), hidden, TF32)
    for k in tl.static_range(K):
        w = into_hidden(w1, k + 1, C, H, CP, HP)
        hidden = product(seen[k], w, hidden, TF32)
    return tl.maximum(hidden, 0.0)


@triton.jit
def candidate(
    hidden: tl.tensor, first: tl.tensor, w2: tl.tensor, b2: tl.tensor, C: tl.constexpr,
    H: tl.constexpr, CP: tl.constexpr, HP: tl.constexpr, TF32: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """The candidate's direction [M, CP], its scale and share [M], the gate's logits [M, CP].

    The candidate is share * direction; padded channels are 0.
    """
    w2u, w2g = out_of_hidden(w2, 0, C, H, CP, HP), out_of_hidden(w2, 1, C, H, CP, HP)
    update = product(hidden, w2u, bias(b2, 0, C, CP) + first, TF32)
    power = tl.sum(update * update, 1) / C
    scale = tl.rsqrt(power + DAMPING)
    logit = tl.zeros_like(first) + bias(b2, 1, C, CP)
    logit = product(hidden, w2g, logit, TF32)
    return update * scale[:, None], scale, power * scale * scale, logit


@triton.jit
def flat(tile: tl.tensor) -> tl.tensor:
    """[SAMPLES, CELLS, CP] -> [M, CP]."""
    return tl.reshape(tile, [tile.shape[0] * tile.shape[1], tile.shape[2]])


@triton.jit
def flat_each(tiles: tl.tuple, K: tl.constexpr) -> tl.tuple:
    made = ()
    for k in tl.static_range(K):
        made = made + (flat(tiles[k]),)
    return made
