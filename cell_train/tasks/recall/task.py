"""The recall task: patterns that plasticity has stored come back from damaged cues.

A pattern is a random bit, +1 or -1, for every cell, and so many as are stored together are a
memory. What is shown is written on channel 0 of every cell at every tick, DRIVE where the bit is +1
and 0 where it is -1: a cell that is driven changes at every tick, one that is not comes to rest. To
be stored, a pattern is shown with its inverse, as another sample, so that the covariance over
samples is what Hopfield's rule takes. To be recalled, its cue is shown the same way to the
strengths that this has left behind; each cell's last state, through one map for all, says its bit.

The gradient trains the shared rule and that map, over ever new memories. Neither can hold a
pattern: all they know of one is in the strengths, which are blank again for the next memory.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import cycle, islice

import torch
from torch import Tensor, nn
from torch.nn import functional

from cell_train.config.schema import Recall
from cell_train.tasks.base import Batch, Evaluation, Sample, TaskContext
from cell_train.tasks.recall import hopfield
from cell_train.tasks.seeds import generator

DRIVE = 4.0
HELD = 0.95  # overlap with which a pattern counts as recalled
APART = 26  # places between two held-out memories' first patterns: none holds so many
SHOWN = 32  # cells of a sample that a person sees


@dataclass(frozen=True)
class RecallBatch(Batch):
    """`source` cues [B, N] in -1, 0 and 1, `target` their patterns [B, N], -1 or 1."""

    memory: Tensor  # [P, N], the patterns stored


class RecallTask(nn.Module):
    """Nothing is saved of the patterns: they come from the seed."""

    primary = "overlap"

    def __init__(self, context: TaskContext) -> None:
        super().__init__()
        stage = context.stage
        self.recall = Recall(**stage["recall"])
        self.limit, self.seed = stage["dataset_limit"], stage["seed"]
        self.shown = stage["monitor"]["samples"]
        self.dimensions = context.dimensions
        start = torch.Generator().manual_seed(stage["seed"])
        leave = torch.randn(context.channels, generator=start)
        self.leave = nn.Parameter(leave * context.channels**-0.5)  # [C]
        self.bias = nn.Parameter(torch.zeros(()))

    def size(self, split: str) -> int:
        return self.limit if split == "train" else self.recall.held_out * APART

    def batches(self, split: str, order: list[int], micro_batch: int) -> Iterator[RecallBatch]:
        """Memories of `recall.patterns` samples, of one less, down to a single one, and again."""
        left, loads = iter(order), cycle(range(self.recall.patterns, 0, -1))
        while taken := list(islice(left, next(loads))):
            yield from self.memory(split, taken).parts(micro_batch)

    def memory(self, split: str, order: list[int]) -> RecallBatch:
        """The patterns named by `order`, stored together, each with its cue."""
        pairs = [self._drawn(split, index) for index in order]
        cues, patterns = (torch.stack(side) for side in zip(*pairs, strict=True))
        return RecallBatch(cues, patterns, len(order), patterns)

    def shows(self, batch: RecallBatch) -> Iterator[Batch]:
        """Each pattern beside its inverse, `recall.shows` times."""
        both = torch.stack((batch.memory, -batch.memory), 1).flatten(0, 1)
        for _ in range(self.recall.shows):
            yield Batch(both, both, len(both))

    def present(self, batch: Batch) -> Tensor:
        """[X, Y, Z, B, 1]: what is not known lies halfway."""
        drive = DRIVE * (1 + batch.source.to(self.leave.device)) / 2
        return drive.view(-1, *self.dimensions, 1).permute(1, 2, 3, 0, 4).contiguous()

    def write(self, cells: Tensor, x: Tensor) -> Tensor:
        return torch.cat((x, cells[..., 1:]), -1)

    def read(self, cells: Tensor) -> Tensor:
        """[B, N], above 0 where the bit is taken for +1."""
        return (cells @ self.leave + self.bias).flatten(0, 2).T

    def bypass(self, batch: Batch) -> Tensor:
        return batch.source.to(self.leave.device) * self.leave.mean()

    def score(self, y: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of the bits (that of a fair guess is ln 2)."""
        target = batch.target.to(y.device)
        return functional.softplus(-y * target).mean(), {"overlap": _overlap(y.detach(), target)}

    @torch.no_grad()
    def evaluate(self, respond: Callable[[RecallBatch], Tensor], limit: int) -> Evaluation:
        """overlap: of what is recalled with the patterns; 1: every bit, 0: none more than by luck.

        chance: of the cues themselves, the best guess without a memory. unseen: recalled from cues
        of patterns that are not stored, while others are. capacity: how many patterns, of at most
        `recall.patterns`, a memory holds before overlap falls below 0.95. In the last evaluation
        also overlap and capacity of a Hopfield network on the same neighbours, from the same cues.
        """
        patterns, held_out = self.recall.patterns, self.recall.held_out
        memories = max(min(held_out, limit // patterns), 1) if limit else held_out

        def holds(answer: Callable[[RecallBatch], Tensor]) -> int:
            return capacity(lambda load: self.mean(answer, load, memories), patterns)

        metrics = {
            "overlap": self.mean(respond, patterns, memories),
            "chance": self.mean(lambda batch: batch.source, patterns, memories),
            "unseen": self.mean(respond, patterns, memories, stored=False),
            "capacity": holds(respond),
        }
        if not limit:
            metrics |= {
                "hopfield_overlap": self.mean(self.hopfield, patterns, memories),
                "hopfield_capacity": holds(self.hopfield),
            }
        batch = self._held_out(0, patterns)
        rows = zip(batch.source, batch.target, respond(batch).cpu(), strict=True)
        samples: list[Sample] = [
            (_drawing(cue), _drawing(pattern), _drawing(y))
            for cue, pattern, y in list(rows)[: self.shown]
        ]
        return Evaluation(metrics, samples)

    def mean(
        self,
        answer: Callable[[RecallBatch], Tensor],
        load: int,
        memories: int,
        stored: bool = True,
    ) -> float:
        """Overlap of the answers to held-out memories of `load` patterns with these; not `stored`:
        to the cues of one memory from the next."""
        total = 0.0
        for number in range(memories):
            batch = self._held_out(number, load)
            if not stored:
                batch = replace(batch, memory=self._held_out(number + 1, load).memory)
            total += overlap(answer(batch).cpu(), batch.target)
        return total / memories

    def hopfield(self, batch: RecallBatch) -> Tensor:
        """[B, N], what a Hopfield network of the same patterns makes of the cues."""
        volumes = (part.view(-1, *self.dimensions) for part in (batch.memory, batch.source))
        return hopfield.recall(*volumes).flatten(1)

    def facts(self) -> dict[str, object]:
        """What the stage's first event says of the task."""
        return vars(self.recall).copy()

    def grow(self, dimensions: tuple[int, int, int]) -> None:
        self.dimensions = dimensions

    def _drawn(self, split: str, index: int) -> tuple[Tensor, Tensor]:
        """The cue [N] and the pattern [N] that a sample is, the same wherever it is asked for."""
        random = generator(self.seed, split, index)
        bits, luck = torch.rand(2, math.prod(self.dimensions), generator=random)
        pattern = torch.where(bits < 0.5, -1.0, 1.0)
        hurt = luck < self.recall.damage
        return torch.where(hurt, -pattern if self.recall.cue == "noisy" else 0.0, pattern), pattern

    def _held_out(self, number: int, load: int) -> RecallBatch:
        """A held-out memory of `load` patterns; with more, it has these among them."""
        return self.memory("held_out", [number * APART + place for place in range(load)])


def overlap(y: Tensor, patterns: Tensor) -> float:
    """Mean over cells of what `y` [B, N] says times the bit; 0 says neither."""
    return float(_overlap(y, patterns))


def _overlap(y: Tensor, patterns: Tensor) -> Tensor:
    return (y.sign() * patterns).mean()


def capacity(recalled: Callable[[int], float], most: int) -> int:
    """The largest load, of those up to `most`, up to which `recalled(load)` is at least HELD."""
    return next((load - 1 for load in range(1, most + 1) if recalled(load) < HELD), most)


def _drawing(bits: Tensor) -> str:
    return "".join("-.#"[int(bit.sign()) + 1] for bit in bits[:SHOWN])


TASK = RecallTask
