"""The grow task: from one seed cell a coloured shape, which stays and comes back where it is cut.

After "Growing Neural Cellular Automata" (Mordvintsev et al., Distill 2020), in three dimensions.
Channels 0 to 3 of a cell are red, green, blue and opacity, the others its own. A batch begins from
states of a pool that earlier presentations have left; the one farthest from the shape is replaced
by a fresh seed, those nearest to it are cut.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from cell_train.config.schema import Grow
from cell_train.tasks.base import Batch, Evaluation, Respond, TaskContext
from cell_train.tasks.grow import cuts
from cell_train.tasks.grow import target as targets
from cell_train.tasks.seeds import generator

SEEN = 4  # channels that a person sees
OPACITY = 3
THERE = 0.5  # opacity from which a cell counts as there


@dataclass(frozen=True)
class GrowBatch(Batch):
    """`source` [B, X, Y, Z, C] are the cells a presentation begins from."""

    slots: Tensor  # [B] int64, where in the pool they are kept; -1: nowhere

    per_sample: ClassVar[tuple[str, ...]] = ("source", "target", "slots")


class GrowTask(nn.Module):
    """Its buffers are target [X, Y, Z, 4], seed [X, Y, Z, C] and pool [P, X, Y, Z, C]."""

    primary = "iou"
    target: Tensor
    seed: Tensor
    pool: Tensor

    def __init__(self, context: TaskContext) -> None:
        super().__init__()
        self.grows = Grow(**context.stage["grow"])
        self.limit, self.luck = context.stage["dataset_limit"], context.stage["seed"]
        self.channels = context.channels
        self._place(context.dimensions)

    def _place(self, dimensions: tuple[int, int, int]) -> None:
        """The shape on a lattice of these dimensions, and a pool of seeds alone."""
        voxels = targets.load(self.grows.target, dimensions)
        seed = torch.zeros(*dimensions, self.channels)
        seed[targets.middle(voxels)][OPACITY:] = 1
        self.register_buffer("target", torch.from_numpy(voxels))
        self.register_buffer("seed", seed)
        self.register_buffer("pool", seed.expand(self.grows.pool, *seed.shape).clone())

    def size(self, split: str) -> int:
        return self.limit if split == "train" else 1

    def batches(self, split: str, order: list[int], micro_batch: int) -> Iterator[GrowBatch]:
        """States of the pool, drawn anew for every order; one held-out sample: the seed."""
        if split != "train":
            yield self.begin(self.seed[None].expand(len(order), *self.seed.shape))
            return
        random = generator(self.luck, "grow", *order)
        slots = torch.randperm(len(self.pool), generator=random)
        slots = slots.repeat(1 + len(order) // len(slots))[: len(order)]
        yield from self._drawn(slots, random).parts(micro_batch)

    def _drawn(self, slots: Tensor, random: torch.Generator) -> GrowBatch:
        cells = self.pool[slots.to(self.pool.device)]
        losses = self._losses(cells.permute(1, 2, 3, 0, 4))
        ranked = losses.argsort(stable=True).tolist()  # the nearest to the shape first
        grown = self.overlap(cells.permute(1, 2, 3, 0, 4))
        for place in ranked[: self.grows.damage]:
            cut = cuts.at_random(self._dimensions, random).to(cells.device)
            if float(grown[place]) > 0.5:
                cells[place] *= ~cut[..., None]
        cells[ranked[-1]] = self.seed
        return self.begin(cells, slots)

    def begin(
        self, cells: Tensor, slots: Tensor | None = None, ticks: int | None = None
    ) -> GrowBatch:
        """A batch that goes on from `cells` [B, X, Y, Z, C], for so many ticks."""
        count = len(cells)
        slots = torch.full((count,), -1) if slots is None else slots
        target = self.target.expand(count, *self.target.shape)
        return GrowBatch(cells, target, count, slots, ticks=ticks)

    def present(self, batch: Batch) -> Tensor:
        return self.seed.new_empty(0)  # nothing comes from outside

    def initial(self, batch: Batch) -> Tensor:
        return batch.source.permute(1, 2, 3, 0, 4).contiguous()

    def write(self, cells: Tensor, x: Tensor) -> Tensor:
        """The cells that are alive: beside one whose opacity says so. The others are at zero."""
        if self.grows.alive == 0:
            return cells
        with torch.no_grad():
            opacity = cells[..., OPACITY].permute(3, 0, 1, 2)[:, None]
            near = functional.max_pool3d(opacity, 3, stride=1, padding=1)[:, 0]
            alive = (near > self.grows.alive).permute(1, 2, 3, 0)[..., None]
        return cells * alive

    def read(self, cells: Tensor) -> Tensor:
        """[X, Y, Z, B, C], the cells that are alive."""
        return self.write(cells, cells)

    def keep(self, batch: GrowBatch, cells: Tensor) -> None:
        """Put what has grown back into the pool; what is not finite begins anew."""
        states = self.read(cells).permute(3, 0, 1, 2, 4)
        sound = torch.isfinite(states).flatten(1).all(1)
        states = torch.where(sound.view(-1, 1, 1, 1, 1), states, self.seed)
        self.pool[batch.slots.to(self.pool.device)] = states

    def score(self, y: Tensor, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Mean squared error of colour and opacity."""
        return self._losses(y).mean(), {"iou": float(self.overlap(y.detach()).mean())}

    @torch.no_grad()
    def evaluate(self, respond: Respond, limit: int) -> Evaluation:
        """iou: of the cells that are there with the shape's, once grown from the seed.

        cut: the same right after half was taken away; regrown: `regrow_ticks` later. In the last
        evaluation also left: after `persist_ticks` on its own, and regrown_NAME after cuts that
        training never makes.
        """
        grown = respond(self.begin(self.seed[None]))

        def later(cells: Tensor, ticks: int) -> Tensor:
            return respond(self.begin(cells.permute(3, 0, 1, 2, 4), ticks=ticks))

        def said(cells: Tensor) -> float:
            return float(self.overlap(cells).mean())

        half = grown * ~cuts.half(self._dimensions).to(grown.device)[..., None, None]
        found = {
            "iou": said(grown),
            "mse": float(self._losses(grown).mean()),
            "cut": said(half),
            "regrown": said(later(half, self.grows.regrow_ticks)),
        }
        if not limit:
            found["left"] = said(later(grown, self.grows.persist_ticks))
            for name, cut in cuts.UNSEEN.items():
                hurt = grown * ~cut(self._dimensions).to(grown.device)[..., None, None]
                found[f"regrown_{name}"] = said(later(hurt, self.grows.regrow_ticks))
        return Evaluation(found, [])

    def overlap(self, cells: Tensor) -> Tensor:
        """[B], intersection over union of the cells that are there with the shape's."""
        there = cells[..., OPACITY] > THERE
        wanted = (self.target[..., OPACITY] > THERE)[..., None]
        both, either = (there & wanted), (there | wanted)
        return both.sum((0, 1, 2)) / either.sum((0, 1, 2)).clamp_min(1)

    def facts(self) -> dict[str, object]:
        """What the stage's first event says of the task."""
        there = int((self.target[..., OPACITY] > THERE).sum())
        return {"target": self.grows.target, "voxels": there, "pool": len(self.pool)}

    def portable(self) -> dict[str, Any]:
        """What a page needs to let it grow."""
        shape = {"seed": self.seed.numpy(), "target": self.target.numpy()}
        return {"kind": "grow", "alive": self.grows.alive, **shape}

    def grow(self, dimensions: tuple[int, int, int]) -> None:
        self._place(dimensions)

    @property
    def _dimensions(self) -> tuple[int, int, int]:
        x, y, z = self.target.shape[:3]
        return x, y, z

    def _losses(self, cells: Tensor) -> Tensor:
        """[B] from cells [X, Y, Z, B, C]."""
        return (cells[..., :SEEN] - self.target[:, :, :, None]).square().mean((0, 1, 2, 4))


TASK = GrowTask
