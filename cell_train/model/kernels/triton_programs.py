"""The Triton programs of a step: its forward, its backward within a cell, and between cells."""

import triton
import triton.language as tl

from cell_train.model.kernels.triton_parts import (
    OFFSETS,
    away,
    block,
    candidate,
    flat,
    flat_each,
    gather,
    hidden_layer,
    into_hidden,
    out_of_hidden,
    product,
    rows,
    within,
)


@triton.jit(do_not_specialize=["X", "Y", "Z", "batch", "per_cell", "per_sample"])
def step_forward(
    cells: tl.tensor, following: tl.tensor, activity: tl.tensor, kernel: tl.tensor, w1: tl.tensor,
    b1: tl.tensor, w2: tl.tensor, b2: tl.tensor, dense: tl.tensor, per_cell: tl.tensor,
    per_sample: tl.tensor, X: tl.tensor, Y: tl.tensor, Z: tl.tensor, batch: tl.tensor,
    PERIODIC: tl.constexpr, C: tl.constexpr, K: tl.constexpr, H: tl.constexpr, CP: tl.constexpr,
    HP: tl.constexpr, CELLS: tl.constexpr, SAMPLES: tl.constexpr, EVEN: tl.constexpr,
    TF32: tl.constexpr,
) -> None:  # fmt: skip
    """A program: one tick of some samples of a block. `activity` has the given strides.

    `following` is rounded to its own type; the activity is that of the change before rounding.
    """
    groups = tl.cdiv(batch, SAMPLES)
    first = tl.program_id(0) % groups * SAMPLES
    x, y, z, inside = block(tl.program_id(0) // groups, X, Y, Z, CELLS)
    here = tl.where(inside, (x * Y + y) * Z + z, 0)
    s = tl.arange(0, SAMPLES)[:, None, None]
    own = tl.arange(0, CP)[None, None, :] < C
    if not EVEN:
        own = own & (first + s < batch)
    at = rows(cells, here, first, batch, C, CP)
    seen = gather(
        at, own, kernel, dense, here, inside, x, y, X, Y, Z, batch, PERIODIC, C, K, SAMPLES,
    )  # fmt: skip
    own = own & inside[None, :, None]
    state = flat(tl.load(at + s * C, own, other=0.0).to(tl.float32))
    seen = flat_each(seen, K)
    hidden = hidden_layer(state, seen, w1, b1, C, K, H, CP, HP, TF32)
    unit, _, share, logit = candidate(hidden, seen[0], w2, b2, C, H, CP, HP, TF32)
    gate = 0.5 + 0.5 * logit / (1.0 + tl.abs(logit))
    change = gate * (share[:, None] * unit - state)
    total = tl.reshape(tl.sum(tl.abs(change), 1), [SAMPLES, CELLS])
    after = tl.reshape(state + change, [SAMPLES, CELLS, CP])
    to = rows(following, here, first, batch, C, CP) + s * C
    tl.store(to, after.to(following.dtype.element_ty), own)
    sample = first + tl.arange(0, SAMPLES)[:, None]
    seen_at = activity + (here.to(tl.int64) * per_cell)[None, :] + sample * per_sample
    tl.store(seen_at, total / C, inside[None, :] & (sample < batch))


@triton.jit(do_not_specialize=["begin", "X", "Y", "Z", "batch"])
def step_backward(
    cells: tl.tensor, d_next: tl.tensor, d_cells: tl.tensor, d_seen: tl.tensor, met: tl.tensor,
    kernel: tl.tensor, w1: tl.tensor, b1: tl.tensor, w2: tl.tensor, b2: tl.tensor,
    dense: tl.tensor, begin: tl.tensor, X: tl.tensor,
    Y: tl.tensor, Z: tl.tensor, batch: tl.tensor, PERIODIC: tl.constexpr, C: tl.constexpr,
    K: tl.constexpr, H: tl.constexpr, CP: tl.constexpr, HP: tl.constexpr, CELLS: tl.constexpr,
    SAMPLES: tl.constexpr, EVEN: tl.constexpr, TF32: tl.constexpr,
) -> None:  # fmt: skip
    """A program: what flows back within the cells of a block, the first being `begin`.

    Sets d_cells [N, B, C] to what comes by the cell itself, d_seen [N, B, K, C], and what
    `step_weights` multiplies: a row of `met` for each row of the tile, (1 + K) C of what went
    into the hidden layer, H of the hidden layer, H of its gradient, 2 C of update's and gate's.
    """
    groups = tl.cdiv(batch, SAMPLES)
    item = begin + tl.program_id(0)
    first = item % groups * SAMPLES
    x, y, z, inside = block(item // groups, X, Y, Z, CELLS)
    here = tl.where(inside, (x * Y + y) * Z + z, 0)
    s = tl.arange(0, SAMPLES)[:, None, None]
    own = tl.arange(0, CP)[None, None, :] < C
    if not EVEN:
        own = own & (first + s < batch)
    at = rows(cells, here, first, batch, C, CP)
    seen = gather(
        at, own, kernel, dense, here, inside, x, y, X, Y, Z, batch, PERIODIC, C, K, SAMPLES,
    )  # fmt: skip
    own = own & inside[None, :, None]
    state = flat(tl.load(at + s * C, own, other=0.0).to(tl.float32))
    d = flat(tl.load(rows(d_next, here, first, batch, C, CP) + s * C, own, other=0.0))
    seen = flat_each(seen, K)
    W: tl.constexpr = (3 + K) * C + 2 * H
    M: tl.constexpr = CELLS * SAMPLES
    row = met + (tl.program_id(0) * M + tl.arange(0, M)).to(tl.int64)[:, None] * W
    c, h = tl.arange(0, CP)[None, :], tl.arange(0, HP)[None, :]
    tl.store(row + c, state, c < C)
    for k in tl.static_range(K):
        tl.store(row + (k + 1) * C + c, seen[k], c < C)
    hidden = hidden_layer(state, seen, w1, b1, C, K, H, CP, HP, TF32)
    row += (1 + K) * C
    tl.store(row + h, hidden, h < H)
    unit, scale, share, logit = candidate(hidden, seen[0], w2, b2, C, H, CP, HP, TF32)
    d_own, d_update, d_logit = back_to_update(d, state, unit, scale, share, logit, C)
    tl.store(row + 2 * H + c, d_update, c < C)
    tl.store(row + 2 * H + C + c, d_logit, c < C)
    d_hidden = back_to_hidden(d_update, d_logit, hidden, w2, C, H, CP, HP, TF32)
    tl.store(row + H + h, d_hidden, h < H)
    w = tl.trans(into_hidden(w1, 0, C, H, CP, HP))
    d_own = product(d_hidden, w, d_own, TF32)
    to = rows(d_cells, here, first, batch, C, CP) + s * C
    tl.store(to, tl.reshape(d_own, [SAMPLES, CELLS, CP]), own)
    to = rows(d_seen, here, first * K, batch * K, C, CP) + s * (K * C)
    for k in tl.static_range(K):
        w = tl.trans(into_hidden(w1, k + 1, C, H, CP, HP))
        if k == 0:
            part = product(d_hidden, w, d_update, TF32)
        else:
            part = product(d_hidden, w, tl.zeros_like(d_update), TF32)
        tl.store(to + k * C, tl.reshape(part, [SAMPLES, CELLS, CP]), own)


@triton.jit
def back_to_update(
    d: tl.tensor, state: tl.tensor, unit: tl.tensor, scale: tl.tensor, share: tl.tensor,
    logit: tl.tensor, C: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """From the gradient of the next state to those of the state itself, update and logits."""
    fall = 1.0 / (1.0 + tl.abs(logit))
    gate = 0.5 + 0.5 * logit * fall
    let_in = d * gate
    along = (2.0 - 3.0 * share) * tl.sum(let_in * unit, 1) / C
    d_update = scale[:, None] * (let_in * share[:, None] + unit * along[:, None])
    d_logit = d * (share[:, None] * unit - state) * (0.5 * fall * fall)
    return d - let_in, d_update, d_logit


@triton.jit
def back_to_hidden(
    d_update: tl.tensor, d_logit: tl.tensor, hidden: tl.tensor, w2: tl.tensor, C: tl.constexpr,
    H: tl.constexpr, CP: tl.constexpr, HP: tl.constexpr, TF32: tl.constexpr,
) -> tl.tensor:  # fmt: skip
    """[M, HP]: the gradient before the hidden layer's kink."""
    w2u, w2g = out_of_hidden(w2, 0, C, H, CP, HP), out_of_hidden(w2, 1, C, H, CP, HP)
    d_hidden = product(d_update, tl.trans(w2u), tl.zeros_like(hidden), TF32)
    d_hidden = product(d_logit, tl.trans(w2g), d_hidden, TF32)
    return tl.where(hidden > 0, d_hidden, 0.0)


@triton.jit(do_not_specialize=["count"])
def step_weights(
    met: tl.tensor, partial: tl.tensor, count: tl.tensor, C: tl.constexpr, K: tl.constexpr,
    H: tl.constexpr, CP: tl.constexpr, HP: tl.constexpr, ROWS: tl.constexpr, TF32: tl.constexpr,
) -> None:  # fmt: skip
    """A program: adds to partial [programs, G] its rows' share of the gradients of w1, b1, w2, b2.

    Of the `count` rows of `met` a program takes every so many, ROWS at a time.
    """
    W: tl.constexpr = (3 + K) * C + 2 * H
    W2: tl.constexpr = (1 + K) * C * H + H  # where w2 begins among a program's gradients
    G: tl.constexpr = W2 + H * 2 * C + 2 * C
    c, h = tl.arange(0, CP), tl.arange(0, HP)
    both = tl.arange(0, 2 * CP)  # update's and gate's
    r = tl.arange(0, ROWS)
    d_w1 = ()
    for k in tl.static_range(K + 1):
        d_w1 = d_w1 + (tl.zeros([CP, HP], tl.float32),)
    d_w2 = tl.zeros([HP, 2 * CP], tl.float32)
    d_b1, d_b2 = tl.zeros([ROWS, HP], tl.float32), tl.zeros([ROWS, 2 * CP], tl.float32)
    at_both = both // CP * C + both % CP
    for first in range(tl.program_id(0) * ROWS, count, tl.num_programs(0) * ROWS):
        row = met + (first + r).to(tl.int64) * W
        there = first + r < count
        wide = there[:, None] & (h < H)[None, :]
        hidden_at = row + (1 + K) * C
        d_hidden = tl.load(hidden_at[:, None] + H + h[None, :], wide, 0.0)
        added = ()
        for k in tl.static_range(K + 1):
            went_in = tl.load(
                row[None, :] + k * C + c[:, None], there[None, :] & (c < C)[:, None], 0.0
            )
            added = added + (product(went_in, d_hidden, d_w1[k], TF32),)
        d_w1 = added
        d_b1 += d_hidden
        hidden = tl.load(hidden_at[None, :] + h[:, None], there[None, :] & (h < H)[:, None], 0.0)
        d_out = tl.load(
            hidden_at[:, None] + 2 * H + at_both[None, :],
            there[:, None] & (both % CP < C)[None, :], 0.0,
        )  # fmt: skip
        d_w2 = product(hidden, d_out, d_w2, TF32)
        d_b2 += d_out
    into = partial + tl.program_id(0) * G
    for k in tl.static_range(K + 1):
        to = into + (k * C + c[:, None]) * H + h[None, :]
        wide = (c < C)[:, None] & (h < H)[None, :]
        tl.store(to, tl.load(to, wide, 0.0) + d_w1[k], wide)
    to = into + (W2 - H) + h
    tl.store(to, tl.load(to, h < H, 0.0) + tl.sum(d_b1, 0), h < H)
    to = into + W2 + h[:, None] * (2 * C) + at_both[None, :]
    tall = (h < H)[:, None] & (both % CP < C)[None, :]
    tl.store(to, tl.load(to, tall, 0.0) + d_w2, tall)
    to = into + (G - 2 * C) + at_both
    tl.store(to, tl.load(to, both % CP < C, 0.0) + tl.sum(d_b2, 0), both % CP < C)


@triton.jit(do_not_specialize=["items", "X", "Y", "Z", "batch"])
def step_collect(
    cells: tl.tensor, d_cells: tl.tensor, d_seen: tl.tensor, partial: tl.tensor, kernel: tl.tensor,
    dense: tl.tensor, items: tl.tensor, X: tl.tensor,
    Y: tl.tensor, Z: tl.tensor, batch: tl.tensor, PERIODIC: tl.constexpr, C: tl.constexpr,
    K: tl.constexpr, CP: tl.constexpr, CELLS: tl.constexpr, SAMPLES: tl.constexpr,
    EVEN: tl.constexpr,
) -> None:  # fmt: skip
    """A program: blocks whose cells collect what flows back from the cells that read them.

    Adds to d_cells [N, B, C]; sets partial [programs, K, 26], its share of the kernels' gradient.
    """
    groups = tl.cdiv(batch, SAMPLES)
    s = tl.arange(0, SAMPLES)[:, None, None]
    row = (batch * (K * C)).to(tl.int64)
    count = (X * Y * Z).to(tl.int64)
    along = ()
    for o in tl.static_range(OFFSETS * K):
        along = along + (tl.zeros([CELLS, CP // 4], tl.float32),)
    for item in range(tl.program_id(0), items, tl.num_programs(0)):
        first = item % groups * SAMPLES
        x, y, z, inside = block(item // groups, X, Y, Z, CELLS)
        here = tl.where(inside, (x * Y + y) * Z + z, 0)
        one = tl.arange(0, CP)[None, None, :] < C
        if not EVEN:
            one = one & (first + s < batch)
        own = one & inside[None, :, None]
        to = rows(d_cells, here, first, batch, C, CP) + s * C
        state = tl.load(rows(cells, here, first, batch, C, CP) + s * C, own, other=0.0)
        state = state.to(tl.float32)
        total = tl.load(to, own, other=0.0)
        behind = rows(d_seen, here, first * K, batch * K, C, CP)
        met = ()
        for o in tl.static_range(OFFSETS):
            there = inside & within(x, y, z, X, Y, Z, o, -1, PERIODIC)
            steps = away(x, y, X, Y, Z, o, -1, PERIODIC)
            weight = tl.load(dense + o * count + (here + steps), there, 0.0)
            far = steps.to(tl.int64) * row
            at = behind + (far[None, :, None] if PERIODIC else far)
            reads = (weight != 0)[None, :, None] & one
            for k in tl.static_range(K):
                d = tl.load(at + s * (K * C) + k * C, reads, other=0.0)
                total += (tl.load(kernel + k * OFFSETS + o) * weight)[None, :, None] * d
                product = tl.reshape(tl.sum(d * state, 0), [CELLS, CP // 4, 4])
                met = met + (along[o * K + k] + weight[:, None] * tl.sum(product, 2),)
        along = met
        tl.store(to, total, own)
    for o in tl.static_range(OFFSETS):
        for k in tl.static_range(K):
            meant = tl.sum(tl.sum(along[o * K + k], 1), 0)
            tl.store(partial + (tl.program_id(0) * K + k) * OFFSETS + o, meant)
