"""A task of your own: carry random codes from one face of the lattice to the other."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import cell_train
from cell_train.tasks import Batch, Evaluation, Faces, TaskContext

WIDTH, TRAIN, HELD_OUT = 16, 512, 64


class Carry(nn.Module):
    primary = "cosine"  # the metric the best checkpoint is chosen by
    write = Faces.write  # x goes onto the plane z = 0 before each tick

    def __init__(self, context: TaskContext) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(context.stage["seed"])
        codes = torch.randn(TRAIN + HELD_OUT, WIDTH, generator=generator)
        self.codes = {"train": codes[:TRAIN], "held_out": codes[TRAIN:]}
        self.faces = Faces(WIDTH, context.dimensions[:2], context.channels, generator)

    def size(self, split: str) -> int:
        return len(self.codes[split])

    def batches(self, split: str, order: list[int], micro_batch: int) -> Iterator[Batch]:
        for part in torch.tensor(order).split(micro_batch):
            codes = self.codes[split][part]
            yield Batch(codes, codes, len(codes))

    def present(self, batch: Batch) -> Tensor:
        return self.faces.drive(batch.source.to(self.faces.enter.device))

    def read(self, cells: Tensor) -> Tensor:
        return self.faces.read(cells)

    def score(self, y: Tensor, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        cosine = functional.cosine_similarity(y, batch.target.to(y.device), dim=1).mean()
        return 1 - cosine, {"cosine": float(cosine.detach())}

    def evaluate(self, respond: Callable[[Batch], Tensor], limit: int) -> Evaluation:
        order = list(range(min(limit or HELD_OUT, HELD_OUT)))
        (batch,) = self.batches("held_out", order, HELD_OUT)
        return Evaluation(self.score(respond(batch), batch)[1], samples=[])

    def saved(self) -> dict[str, Any]:
        return {}  # the codes come from the seed

    def grow(self, dimensions: tuple[int, int, int]) -> None:
        self.faces.grow(dimensions[:2])

    def fast_parameters(self) -> list[nn.Parameter]:
        return []  # those with training.decoder_learning_rate


def main() -> None:
    os.environ["CELLTRAIN_TRUST"] = "own_task"  # this file: to import it is to run it
    small = {"lattice.dimensions": [4, 4, 4], "training.learning_rate": 0.01}
    ended = cell_train.run("1", overrides={**small, "task": "own_task:Carry"})
    if ended.exit_code:
        raise SystemExit(ended.message)
    print(ended.stages[0]["metrics"], ended.load().lesion(0.2).evaluate())


if __name__ == "__main__":
    main()
