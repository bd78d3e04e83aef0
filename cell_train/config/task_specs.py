"""What each built-in task asks of a stage file: a row a task, and no torch.

Validation, the plan's hashes and the key `task` itself go by these rows. What a plan must know
beyond them is in the task's own folder, `tasks/NAME/plan.py`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cell_train.config.schema import Stage

Wrong = tuple[str, str, str]
"""(the dotted key it is about, what is wrong, what to write instead)"""
SHAPES = ("mushroom", "ring", "tree")  # that tasks/grow/shapes.py draws


def _nothing(stage: "Stage") -> Iterator[Wrong]:
    return iter(())


@dataclass(frozen=True)
class TaskSpec:
    """What a stage file of a task must be."""

    crosses: bool  # written on one face and read from the other: z is the way between them
    fixed: bool = False  # its data say how large the lattice is: a memory profile changes no size
    when: str | None = None  # the only plasticity.when that is of use; None: any
    why: str = ""  # so, as in "task NAME ..."
    files: tuple[str, ...] = ()  # dotted keys that may name a file
    metrics: tuple[str, ...] = ()  # on held-out samples, the one to look at first; (): not known
    baseline: str | None = None  # the metric that says what the simplest answer would score
    baseline_is: str = ""  # that answer, as in "what ... would score"
    wrong: Callable[["Stage"], Iterator[Wrong]] = _nothing  # keys that do not go together


def _text(stage: "Stage") -> Iterator[Wrong]:
    if stage.text.encoder == "learned" and stage.objective != "text":
        yield "text.encoder", "learned ({}) learns from the decoder alone", "write objective: text"


def _voxels(stage: "Stage") -> Iterator[Wrong]:
    if not stage.voxels.path:
        yield "voxels.path", "is empty ({}): task voxels trains on a file", "write a .npz file"


def _grow(stage: "Stage") -> Iterator[Wrong]:
    if stage.lattice.channels < 5:
        yield (
            "lattice.channels",
            f"{stage.lattice.channels} ({{}}) leaves a cell nothing beside colour and opacity",
            "write at least 5",
        )
    if stage.grow.pool < stage.batch_size:
        message = f"{stage.grow.pool} ({{}}) is smaller than batch_size {stage.batch_size}"
        yield "grow.pool", message, f"write at least {stage.batch_size}"


TASKS: Mapping[str, TaskSpec] = {
    "text": TaskSpec(
        crosses=True,
        when="step",
        why="stores no patterns",
        files=("data.path", "data.held_out_path", "text.embeddings"),
        metrics=(
            *("bleu", "cosine", "exact", "nearest_bleu", "direct_bleu", "known_words"),
            *("rank", "reciprocal_rank", "nearest_rank", "nearest_reciprocal_rank"),
        ),
        baseline="nearest_bleu",
        baseline_is="answering with the nearest training sentence",
        wrong=_text,
    ),
    "recall": TaskSpec(
        crosses=False,
        when="forward",
        why="stores patterns while it shows them",
        metrics=(
            *("overlap", "chance", "unseen", "capacity"),
            *("hopfield_overlap", "hopfield_capacity"),
        ),
        baseline="hopfield_overlap",
        baseline_is="a Hopfield network on the same neighbours",
    ),
    "voxels": TaskSpec(
        crosses=False,
        fixed=True,
        when="step",
        why="stores no patterns",
        files=("voxels.path",),
        wrong=_voxels,
    ),
    "grow": TaskSpec(
        crosses=False,
        fixed=True,
        when="step",
        why="stores no patterns",
        files=("grow.target",),
        wrong=_grow,
    ),
}
OWN = TaskSpec(crosses=False)
"""A task of the user's own, which may write and read wherever it likes."""


def of(task: str) -> TaskSpec:
    return TASKS.get(task, OWN)


def named_files(stage: "Stage") -> dict[str, str]:
    """Dotted key -> the path that stands there, of the keys that name a file of this task."""
    found = {}
    for key in of(stage.task).files:
        section, _, name = key.partition(".")
        value = getattr(getattr(stage, section), name)
        if value:
            found[key] = str(value)
    return found
