"""The voxels task: every cell is given the numbers of its voxel, and says those wanted there.

Before each tick x is written on the first channels, and behind it a channel of ones (or the mask),
by whose sum over the neighbours a cell sees borders. What is read is one linear map for all cells
of what they are after the last tick.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from cell_train.config.schema import Voxels
from cell_train.tasks.base import TOGETHER, Batch, Evaluation, Respond, TaskContext
from cell_train.tasks.seeds import generator
from cell_train.tasks.voxels import data


class VoxelsTask(nn.Module):
    """Metrics: error (relative, of mse) or accuracy; per voxel that the mask lets count."""

    def __init__(self, context: TaskContext) -> None:
        super().__init__()
        stage = context.stage
        self.voxels = Voxels(**stage["voxels"])
        self.limit, self.luck = stage["dataset_limit"], stage["seed"]
        found = data.load(Path(self.voxels.path), self.voxels.loss)
        self.primary = "fit" if self.voxels.loss == "mse" else "accuracy"
        self.x, self.y = torch.from_numpy(found.x), torch.from_numpy(found.y)
        self.asked = torch.from_numpy(found.x_held_out)
        self.wanted = torch.from_numpy(found.y_held_out)
        self.classes, self.wide = found.classes, found.x.shape[4] + 1
        mask = (
            torch.ones(found.x.shape[1:4]) if found.mask is None else torch.from_numpy(found.mask)
        )
        self.register_buffer("mask", mask, persistent=False)  # [X, Y, Z]
        self.mask: Tensor
        start = generator(self.luck, "voxels")
        leave = torch.randn(context.channels, self.classes, generator=start)
        self.leave = nn.Parameter(0.1 * leave * context.channels**-0.5)  # [C, d]
        self.bias = nn.Parameter(torch.zeros(self.classes))

    def size(self, split: str) -> int:
        return min(self.limit, len(self.x)) if split == "train" else len(self.asked)

    def batches(self, split: str, order: list[int], micro_batch: int) -> Iterator[Batch]:
        for first in range(0, len(order), micro_batch):
            part = order[first : first + micro_batch]
            if split == "train":
                x = self.x[part]
                if self.voxels.noise:
                    random = generator(self.luck, "voxels noise", *order, first)
                    x = x + self.voxels.noise * torch.randn(x.shape, generator=random)
                yield Batch(x, self.y[part], len(part))
            else:
                yield Batch(self.asked[part], self.wanted[part, 0], len(part))

    def present(self, batch: Batch) -> Tensor:
        """[X, Y, Z, B, c + 1]"""
        x = batch.source.to(self.mask.device).permute(1, 2, 3, 0, 4)
        there = self.mask[..., None, None].expand(*x.shape[:4], 1)
        return torch.cat((x, there), -1)

    def write(self, cells: Tensor, x: Tensor) -> Tensor:
        return torch.cat((x, cells[..., self.wide :]), -1)

    def read(self, cells: Tensor) -> Tensor:
        """[B, X, Y, Z, d]: what is missing from x, what is there, or how likely each class is."""
        return (cells @ self.leave + self.bias).permute(3, 0, 1, 2, 4)

    def bypass(self, batch: Batch) -> Tensor:
        """What a cell could say of its own voxel alone."""
        x = self.present(batch)
        y: Tensor = (x @ self.leave[: self.wide] + self.bias).permute(3, 0, 1, 2, 4)
        return y

    def score(self, y: Tensor, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        target = batch.target.to(y.device)
        counts = self.mask[None, ..., None]
        if self.voxels.loss == "mse":
            missed = (self._said(y, batch) - target).square() * counts
            loss = missed.sum() / (counts.sum() * target.shape[0] * target.shape[4])
            return loss, {"fit": 1 - self._relative(self._said(y, batch).detach(), target)}
        if self.voxels.loss == "bce":
            losses = functional.binary_cross_entropy_with_logits(y, target, reduction="none")
            losses, right = losses.mean(-1), ((y > 0) == (target > 0.5)).float().mean(-1)
        else:
            wanted = target[..., 0].long()
            losses = functional.cross_entropy(y.movedim(-1, 1), wanted, reduction="none")
            right = (y.argmax(-1) == wanted).float()
        total = counts.sum() * target.shape[0]
        hits = (right.detach() * self.mask).sum() / total
        return (losses * self.mask).sum() / total, {"accuracy": float(hits)}

    @torch.no_grad()
    def evaluate(self, respond: Respond, limit: int) -> Evaluation:
        """With mse: error, |answer - y| / |y|; after N steps, each from the answer before, error_N.

        fit is 1 - error. unchanged is the error of x itself, taken for the answer.
        Else accuracy, and whole: the share of samples in which every voxel is right.
        """
        count = len(self.asked) if not limit else min(limit, len(self.asked))
        if self.voxels.loss != "mse":
            return self._judged(respond, count)
        steps, found = self.wanted.shape[1], {}
        answers: list[list[Tensor]] = [[] for _ in range(steps)]
        for batch in self.batches("held_out", list(range(count)), TOGETHER):
            for step in range(steps):
                said = self._said(respond(batch), batch).cpu()
                answers[step].append(said)
                batch = replace(batch, source=said)
        wanted = self.wanted[:count]
        error = self._relative(torch.cat(answers[0]), wanted[:, 0])
        found = {"fit": 1 - error, "error": error}
        if steps > 1:
            found[f"error_{steps}"] = self._relative(torch.cat(answers[-1]), wanted[:, -1])
        if self.asked.shape[4] == self.wanted.shape[5]:
            found["unchanged"] = self._relative(self.asked[:count], wanted[:, 0])
            if steps > 1:
                still = self._relative(self.asked[:count], wanted[:, -1])
                found[f"unchanged_{steps}"] = still
        return Evaluation(found, [])

    def _judged(self, respond: Respond, count: int) -> Evaluation:
        right, whole = 0.0, 0.0
        for batch in self.batches("held_out", list(range(count)), TOGETHER):
            y = respond(batch)
            right += self.score(y, batch)[1]["accuracy"] * batch.size
            whole += float(self._all_right(y, batch.target.to(y.device)).sum())
        return Evaluation({"accuracy": right / count, "whole": whole / count}, [])

    def _all_right(self, y: Tensor, target: Tensor) -> Tensor:
        """[B] bool: whether every voxel that counts is right."""
        if self.voxels.loss == "bce":
            hits = ((y > 0) == (target > 0.5)).all(-1)
        else:
            hits = y.argmax(-1) == target[..., 0].long()
        return (hits | (self.mask == 0)).flatten(1).all(1)

    def _said(self, y: Tensor, batch: Batch) -> Tensor:
        return y + batch.source.to(y.device) if self.voxels.residual else y

    def _relative(self, said: Tensor, target: Tensor) -> float:
        counts = self.mask[None, ..., None].to(said.device)
        return float(((said - target) * counts).norm() / (target * counts).norm().clamp_min(1e-30))

    def facts(self) -> dict[str, object]:
        """What the stage's first event says of the task."""
        return {
            "train": len(self.x),
            "held_out": len(self.asked),
            "steps": self.wanted.shape[1],
            "channels": [self.wide - 1, self.classes],
        }


TASK: Callable[[TaskContext], VoxelsTask] = VoxelsTask
