"""What a run has trained, to be used: texts through the lattice and back, tick by tick if wanted.

trained = cell_train.load("runs/20261123T090028Z-stages-1-3")
trained.ask(["a man rides a brown horse"])[0].output
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from cell_train import cache
from cell_train.config import resolve
from cell_train.config.schema import ResolvedStage
from cell_train.data.tokenizer import tokens
from cell_train.errors import CheckpointError, ConfigError, OutOfMemory, starved
from cell_train.model import lattice
from cell_train.model.cell_rule import CellRule
from cell_train.run_folder import folder
from cell_train.run_folder.paths import RunFiles, StageFiles
from cell_train.tasks import base as tasks
from cell_train.tasks.base import Batch
from cell_train.tasks.text.task import TextTask
from cell_train.training import checkpoint
from cell_train.training.construction.build import as_left, model_of
from cell_train.training.pattern_storage import stored
from cell_train.training.presentation import shown
from cell_train.training.state import Model

TOGETHER = 64  # texts that cross the lattice at once, as in an evaluation


@dataclass(frozen=True)
class Answer:
    """A text and what came back of it."""

    text: str
    output: str
    cosine: float | None  # of what was read with the text's own code; None: a text without words
    unknown: tuple[str, ...]  # its words that the vocabulary does not hold
    cut: int  # words beyond data.max_words, which are not read


@dataclass(frozen=True)
class TrainedModel:
    """A stage's lattice with its task, on the CPU. Nothing here changes it."""

    stage: int
    checkpoint: Path
    passed_over: tuple[str, ...]  # why checkpoints that come first were not taken
    model: Model = field(repr=False)
    awake: Tensor = field(repr=False)  # [X, Y, Z, 1, 1], 0 where a cell is silenced

    def encode(self, texts: str | Sequence[str]) -> Tensor:
        """[B, D], a text's code. Raises ConfigError where the task is not text."""
        with torch.no_grad():
            return _text(self).encode([texts] if isinstance(texts, str) else texts)

    def drive(self, code: Tensor) -> Tensor:
        """[X, Y, B, C], what codes [B, D] put on the input face."""
        with torch.no_grad():
            return _text(self).faces.drive(code)

    def step(self, cells: Tensor, drive: Tensor, tick: int = 0) -> Tensor:
        """The cells [X, Y, Z, B, C] a tick later, with `drive` written on them before.

        `tick` counts where lattice.update_probability is below 1: other cells take part in each.
        """
        with torch.no_grad():
            written: Tensor = self.model.task.write(cells.clone(), drive)
            return self.model.network.step(written * self.awake, tick) * self.awake

    def run(self, drive: Tensor) -> Tensor:
        """[T + 1, X, Y, Z, B, C], the states of a presentation from silence on."""
        return torch.stack(list(_ticks(self, drive, drive.shape[2])))

    def read(self, cells: Tensor) -> Tensor:
        """y, what the output face says; for text [B, D]."""
        with torch.no_grad():
            y: Tensor = self.model.task.read(cells)
            return y

    def decode(self, y: Tensor) -> list[str]:
        """The texts that the decoder finds in `y` [B, D]."""
        return _text(self).decode(y)

    def ask(self, texts: str | Sequence[str]) -> list[Answer]:
        """What comes back of each text; a text without words is answered by nothing."""
        texts = [texts] if isinstance(texts, str) else texts
        parts = (texts[first : first + TOGETHER] for first in range(0, len(texts), TOGETHER))
        return [answer for part in parts for answer in _answers(self, part)]

    def states(self, text: str) -> Tensor:
        """[T + 1, X, Y, Z, C], the lattice tick by tick while a text crosses it."""
        return self.run(self.drive(self.encode([text])))[:, :, :, :, 0]

    def side_view(self, text: str) -> list[list[list[float]]]:
        """[T + 1][X][Z], how strong the cells are, seen along y, as shares of the strongest."""
        strength = self.states(text).square().mean(-1).sqrt().mean(2)
        view: list[list[list[float]]] = (strength / strength.max().clamp_min(1e-9)).tolist()
        return view

    def lesion(self, share: float, centre: Sequence[float] | None = None) -> "TrainedModel":
        """The same with a sphere of `share` of the cells silenced: their state is held at zero.

        `centre` is in cells along x, y and z, by default the lattice's middle.
        """
        if not 0 <= share < 1 or (centre and len(centre) != 3):
            raise ConfigError(f"lesion({share}, {centre}): share is in [0, 1), centre is x, y, z")
        dimensions = self.model.network.connections.dimensions
        silent = lattice.around(dimensions, share, centre or ())
        return replace(self, awake=self.awake * ~silent[..., None, None])

    def evaluate(self, limit: int = 0) -> dict[str, float]:
        """The task's metrics on at most `limit` held-out samples (0: all), which it reads anew."""
        task = self.model.task

        def respond(batch: Batch) -> Tensor:
            full = stored(self.model, batch, TOGETHER)[0]
            silenced = full.network.silenced(self.awake)
            return self.read(shown(silenced, task, batch)[0])

        with torch.no_grad():
            return tasks.evaluate(task, respond, limit).metrics

    def portable(self) -> dict[str, Any]:
        """The lattice and its task as plain data and numpy arrays, for a program without torch.

        Strengths are as the cells see them. Raises ConfigError for a cell rule that is not ours.
        """
        network = self.model.network
        rule = network.rule
        if not isinstance(rule, CellRule):
            raise ConfigError(
                f"stage {self.stage}: its cells follow a rule of your own"
                f" ({type(rule).__name__}), which runs in Python alone."
            )
        own = getattr(self.model.task, "portable", None)
        weights = rule.weights()._asdict()
        seen = network.seen
        return {
            "dimensions": list(seen.dimensions),
            "periodic": seen.periodic,
            "ticks": network.ticks,
            "update_probability": network.update_probability,
            "storage": str(network.storage).removeprefix("torch."),  # of cells between ticks
            **asdict(network.size),
            "mask": seen.mask.numpy().astype("<i4"),
            "strength": seen.strength.numpy().astype("<f4"),
            **{name: part.detach().numpy().astype("<f4") for name, part in weights.items()},
            "task": own() if own else {"kind": "other"},
        }


def _text(trained: TrainedModel) -> TextTask:
    """The task of a model trained on text. Raises ConfigError where it is another."""
    task = trained.model.task
    if not isinstance(task, TextTask):
        kind = type(task).__name__
        raise ConfigError(f"stage {trained.stage} was trained on {kind}, not text.")
    return task


def _answers(trained: TrainedModel, texts: Sequence[str]) -> Iterator[Answer]:
    task = _text(trained)
    code = trained.encode(texts)
    y = trained.read(_last(trained, trained.drive(code), len(texts)))
    cosines = functional.cosine_similarity(y, code, dim=1).tolist()
    for text, output, cosine in zip(texts, trained.decode(y), cosines, strict=True):
        words = tokens(text)
        read = dict.fromkeys(words[: task.data.max_words])
        unknown = tuple(word for word in read if word not in task.vocabulary.index)
        cut = max(len(words) - task.data.max_words, 0)
        said = (output, cosine) if words else ("", None)
        yield Answer(text, said[0], said[1], unknown, cut)


def _ticks(trained: TrainedModel, drive: Tensor, batch: int) -> Iterator[Tensor]:
    """[X, Y, Z, B, C] before the first tick and after each."""
    network = trained.model.network
    cells = network.silence(batch)
    yield cells
    for tick in range(network.ticks):
        cells = trained.step(cells, drive, tick)
        yield cells


def _last(trained: TrainedModel, drive: Tensor, batch: int) -> Tensor:
    return deque(_ticks(trained, drive, batch), maxlen=1)[0]  # no more than one state is kept


def load(run: str | Path, stage: int | None = None) -> TrainedModel:
    """What the run in this folder has trained.

    The best checkpoint of the latest completed stage (or of `stage`), else its newest sound one,
    else that of a stage that is not complete. Raises ConfigError where the folder holds no such
    stage, CheckpointError where it holds no checkpoint that will do.
    """
    files = RunFiles(Path(run).absolute())
    stages = _stages(files)
    if not stages:
        raise ConfigError(f"{run}: is no run folder, it holds no stage.")
    folder.check_plain(files)
    if stage is not None and stage not in stages:
        held = ", ".join(map(str, sorted(stages)))
        raise ConfigError(f"{run}: holds no stage {stage}; its stages are {held}.")
    wrong: list[str] = []
    for number in [stage] if stage is not None else stages:
        for saved, path in _checkpoints(files.stage(number), wrong):
            model = _model(resolve.read(files.stage(number).resolved), saved, path)
            x, y, z = model.network.connections.dimensions
            return TrainedModel(number, path, tuple(wrong), model, torch.ones(x, y, z, 1, 1))
    raise CheckpointError(wrong[0] if wrong else f"{run}: holds no checkpoint yet; run it first.")


def _stages(files: RunFiles) -> list[int]:
    """The run's stages, the one to be used first: complete ones before others, later before."""
    found = [
        int(path.parent.name.removeprefix("stage-"))
        for path in files.folder.glob("stage-*/resolved.yaml")
        if path.parent.name.removeprefix("stage-").isdecimal()
    ]
    return sorted(found, key=lambda n: (files.stage(n).result.is_file(), n), reverse=True)


def _checkpoints(files: StageFiles, wrong: list[str]) -> Iterator[tuple[dict[str, Any], Path]]:
    """The stage's sound checkpoints: of a completed stage the best, then the newest."""
    best = checkpoint.best(files.checkpoints) if files.result.is_file() else None
    if best is not None:
        try:
            yield checkpoint.load(best), best
        except CheckpointError as error:
            wrong.append(str(error))
    yield from checkpoint.sound(files.checkpoints, wrong)


def _model(resolved: ResolvedStage, saved: dict[str, Any], path: Path) -> Model:
    """The stage's model on the CPU, as this checkpoint of it left it."""
    asked = resolved.stage.lattice
    backend = "auto" if asked.backend == "compiled" else asked.backend  # the compiler may lack
    here = replace(
        resolved,
        stage=replace(resolved.stage, lattice=replace(asked, backend=backend)),
        execution=replace(resolved.execution, device="cpu"),
    )
    try:
        model, _ = model_of(here, as_left(here.stage, saved), cache.library)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except (RuntimeError, MemoryError) as error:
        if starved(error):
            raise OutOfMemory(f"{path}: memory ran out while it was built") from error
        raise
    model.task.eval()
    return model
