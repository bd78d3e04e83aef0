"""A presentation: T ticks of the step, differentiated with few stored states.

The forward keeps the cells at the start of every segment of ticks. The backward goes through the
segments in reverse, recomputes a segment's states from its start, and each tick's interior from
its state. `segment = 1` keeps every tick's state; larger ones trade one more forward for memory:
T / segment + segment states instead of T.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cell_train.model.cell_rule import RuleWeights
from cell_train.model.kernels.select import Kernels
from cell_train.model.lattice import NEIGHBOURS, Connections

Write = Callable[[Tensor, Tensor], Tensor]
"""(cells [X, Y, Z, B, C], x) -> cells with x written on them; differentiable, no parameters.

Without a graph it may write into `cells`, if writing twice is the same as once. One that is linear
may have a method `back(gradient) -> (that of cells, that of x)`, which may use the gradient up; it
is then taken instead of autograd's, which copies the cells two times more. `x` is empty where
nothing is written that is not in the cells.
"""


@dataclass(frozen=True)
class Luck:
    """Which cells take part in a tick, where not all do: the same whenever it is asked again."""

    probability: float  # that a cell does, on its own
    seed: int

    def drawn(self, tick: int, cells: Tensor) -> Tensor:
        """[X, Y, Z, B, 1] bool for these cells [X, Y, Z, B, C], drawn on the CPU everywhere."""
        random = torch.Generator().manual_seed(self.seed + tick)
        drawn = torch.rand(cells.shape[:4], generator=random) < self.probability
        return drawn[..., None].to(cells.device)


@dataclass(frozen=True)
class Presentation:
    """What stays the same over a presentation."""

    connections: Connections
    kernels: Kernels
    write: Write
    ticks: int
    segment: int
    storage: torch.dtype  # of cells between ticks; arithmetic is float32
    luck: Luck | None = None  # None: every cell takes part in every tick


def present(
    how: Presentation,
    x: Tensor,
    rule: RuleWeights,
    batch: int,
    credit: Tensor | None = None,
    start: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """T ticks with `x` written before each, from the cells `start` or from silence.

    Returns the last cells [X, Y, Z, B, C], differentiable in `x`, `start` and the rule, and the
    activity record [N, T, B] (no gradient). The values of `credit` [E] play no part; what comes
    back as its gradient is the credit of each connection: how far what it brought lay along what
    lowers the loss at its cell.
    """
    inputs = (x, *rule) if start is None else (x, start, *rule)
    keep = torch.is_grad_enabled() and any(part.requires_grad for part in inputs)
    cells, activity = _Rollout.apply(  # type: ignore[no-untyped-call] # torch's
        how, batch, keep, credit, x, start, *rule
    )
    return cells, activity


class _Rollout(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        how: Presentation,
        batch: int,
        keep: bool,
        credit: Tensor | None,
        x: Tensor,
        start: Tensor | None,
        *rule: Tensor,
    ) -> Any:
        weights = RuleWeights(*rule)
        channels = weights.b2.numel() // 2
        kept = how.storage if how.kernels.half else torch.float32
        x = x.to(kept) if how.kernels.half else x
        if start is None:
            cells = x.new_zeros(*how.connections.dimensions, batch, channels, dtype=kept)
        else:
            cells = start.to(kept, copy=True)  # writing may use it up
        activity = cells.new_empty(how.connections.cells, how.ticks, batch, dtype=torch.float32)
        stored = []
        for tick in range(how.ticks):
            if keep and tick % how.segment == 0:
                stored.append(cells.to(how.storage))
            cells = _tick(how, weights, cells, x, activity[:, tick], tick)
        ctx.how, ctx.credited = how, credit is not None
        ctx.save_for_backward(x, *rule, *stored)
        ctx.mark_non_differentiable(activity)
        ctx.set_materialize_grads(False)  # activity's would be as large as activity, all zeros
        return cells.float(), activity

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        how: Presentation = ctx.how
        x, rest = ctx.saved_tensors[0], ctx.saved_tensors[1:]
        rule, stored = RuleWeights(*rest[:5]), rest[5:]
        d_cells, d_x = gradients[0].contiguous(), torch.zeros_like(x, dtype=torch.float32)
        d_rule = [torch.zeros_like(w) for w in rule]
        agreed = torch.zeros_like(how.connections.strength) if ctx.credited else None
        for first in reversed(range(0, how.ticks, how.segment)):
            count = min(how.segment, how.ticks - first)
            states = _recomputed(
                how, rule, stored[first // how.segment], x, range(first, first + count)
            )
            while states:
                tick = first + len(states) - 1
                before = _unpacked(how, states.pop())
                d_cells = _tick_backward(how, rule, before, x, d_cells, d_x, d_rule, agreed, tick)
        if agreed is not None:
            agreed.mul_(rule.kernel[0][how.connections.place % NEIGHBOURS]).neg_()
        d_start = d_cells if ctx.needs_input_grad[5] else None
        return None, None, None, agreed, d_x, d_start, *d_rule


def _unpacked(how: Presentation, stored: Tensor) -> Tensor:
    """Stored cells as the step takes them."""
    return stored if how.kernels.half else stored.float()


def _recomputed(
    how: Presentation, rule: RuleWeights, start: Tensor, x: Tensor, ticks: range
) -> list[Tensor]:
    """The states at the beginning of each of `ticks` from `start`, as they would be stored."""
    states = [start]
    scratch = start.new_empty(how.connections.cells, start.shape[3], dtype=torch.float32)
    for tick in ticks[:-1]:
        before = _unpacked(how, states[-1])
        states.append(_tick(how, rule, before, x, scratch, tick).to(how.storage))
    return states


def _tick(
    how: Presentation, rule: RuleWeights, cells: Tensor, x: Tensor, activity: Tensor, tick: int
) -> Tensor:
    with torch.no_grad():
        written = how.write(cells, x)
    following = how.kernels.forward(how.connections, rule, written, activity)
    if how.luck is not None:
        chosen = how.luck.drawn(tick, written)
        following = torch.where(chosen, following, written)
        activity.mul_(chosen.flatten(0, 2)[:, :, 0])
    if following.dtype != how.storage:
        # Rounded as it will be stored, so that recomputation starts from the very same cells.
        following.copy_(following.to(how.storage))
    return following


def _tick_backward(
    how: Presentation,
    rule: RuleWeights,
    cells: Tensor,
    x: Tensor,
    d_next: Tensor,
    d_x: Tensor,
    d_rule: list[Tensor],
    agreed: Tensor | None,
    tick: int,
) -> Tensor:
    """The gradient of `cells`; those of x and the rule are added to `d_x` and `d_rule`.

    To `agreed` [E] is added how far each connection's source lies along the gradient at its cell.
    """
    back = getattr(how.write, "back", None)
    with torch.set_grad_enabled(back is None):
        if back is None:
            cells, x = cells.float().requires_grad_(), x.detach().float().requires_grad_()
        written = how.write(cells, x)
    d_stayed = None  # what reaches a cell's state past the rule, at the ticks it takes no part in
    if how.luck is not None:
        chosen = how.luck.drawn(tick, written)
        d_stayed, d_next = d_next * ~chosen, d_next * chosen
    if agreed is not None:
        at_cell, at_source = (
            state.detach().flatten(3).flatten(0, 2) for state in (d_next, written)
        )
        agreed += how.kernels.connection_dot(how.connections, at_cell, at_source)
    seen = written.detach()
    if how.kernels.half:
        seen = seen.to(how.storage)  # as the forward had it
    d_written, d_step = how.kernels.backward(how.connections, rule, seen, d_next)
    torch._foreach_add_(d_rule, list(d_step))  # in one operation
    if d_stayed is not None:
        d_written = d_written + d_stayed
    if back is None:
        d_cells, d_written_x = torch.autograd.grad(
            written, (cells, x), d_written, materialize_grads=True
        )
    else:
        d_cells, d_written_x = back(d_written)
    d_x += d_written_x  # not returned: it may be a view that keeps all of d_written
    return d_cells
