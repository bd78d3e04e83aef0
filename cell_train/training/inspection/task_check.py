"""What is wrong with a task of the user's own, in sentences, before a stage is trained on it."""

import dataclasses
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cell_train import cache
from cell_train.config.schema import ResolvedStage
from cell_train.errors import CelltrainError
from cell_train.tasks import base as tasks
from cell_train.tasks.base import HOOKS, Batch, Evaluation
from cell_train.training.construction.build import build
from cell_train.training.presentation import shown
from cell_train.training.state import State

NEEDED = ("primary", "size", "batches", "write", "read", "score")
SAMPLES = 4  # of a check's batch
MICRO_BATCH = 3  # so that the batch falls into parts of different sizes
Wrong = Iterator[str]


class Stop(Exception):
    """What follows cannot be looked at."""


def check(resolved: ResolvedStage) -> list[str]:
    """All that is wrong with the stage's task, a sentence each; [] where nothing is.

    Raises ConfigError where it cannot be imported.
    """
    wrong: list[str] = []
    try:
        for sentence in _checks(resolved):
            wrong.append(sentence)
    except Stop as stop:
        wrong.append(str(stop))
    return wrong


def _checks(resolved: ResolvedStage) -> Wrong:
    state = _built(resolved, 1)
    task = state.model.task
    yield from _split_sizes(task)
    yield from _batches(task)
    yield from _presentation(state)
    yield from _evaluation(state)
    yield from _randomness(resolved, state)
    yield from _state(resolved, state)


def _built(resolved: ResolvedStage, luck: int) -> State:
    """The stage's state, whatever the state of everyone's generators is."""
    _shake(luck)
    try:
        state = build(resolved, cache.library)
    except CelltrainError:
        raise
    except Exception as error:
        missing = _lacking(resolved)
        raise Stop(missing or f"it cannot be built: {_told(error)}.") from error
    if missing := _absent(state.model.task):
        raise Stop(missing)
    return state


def _lacking(resolved: ResolvedStage) -> str:
    """What its class lacks, if that is why it could not be built."""
    from cell_train import plugins

    made = plugins.load("task", resolved.stage.task)
    if not (isinstance(made, type) and issubclass(made, nn.Module)):
        return f"{resolved.stage.task} must be a class derived from torch.nn.Module."
    return ""


def _absent(task: Any) -> str:
    absent = [name for name in NEEDED if not hasattr(task, name)]
    if not absent:
        return "" if isinstance(task.primary, str) else "primary must be a metric's name, a text."
    return f"it has no {', no '.join(absent)}; a task needs {', '.join(NEEDED)}."


def _split_sizes(task: Any) -> Wrong:
    for split in ("train", "held_out"):
        size = task.size(split)
        if not isinstance(size, int) or size < 1:
            raise Stop(f"size({split!r}) is {size!r}; it must be a whole number of at least 1.")
    for name in vars(type(task)):
        if name in HOOKS and not callable(getattr(task, name)):
            yield f"{name} must be a method: {name}{HOOKS[name]}."


def _batches(task: Any) -> Wrong:
    for split in ("train", "held_out"):
        order = _order(task, split)
        found = list(task.batches(split, order, MICRO_BATCH))
        if not all(isinstance(batch, Batch) for batch in found):
            raise Stop(f"batches({split!r}, ...) must yield cell_train.tasks.base.Batch.")
        if sum(batch.size for batch in found) != len(order):
            total = sum(batch.size for batch in found)
            raise Stop(
                f"batches({split!r}, order, ...) yields {total} samples for an order of"
                f" {len(order)}; every sample that is named must come, once."
            )
        if any(batch.size > MICRO_BATCH for batch in found):
            yield f"batches({split!r}, order, {MICRO_BATCH}) yields a batch larger than that."
        for batch in found:
            for name in batch.per_sample:
                if len(getattr(batch, name)) != batch.size:
                    count = len(getattr(batch, name))
                    yield f"a batch's {name} has {count} rows, its size is {batch.size}."


def _presentation(state: State) -> Wrong:
    network, task = state.model.network, state.model.task
    batch = next(iter(task.batches("train", _order(task, "train"), MICRO_BATCH)))
    shape = network.silence(batch.size).shape
    cells = _tried("initial", lambda: tasks.initial(task, batch, state.model.device))
    if cells is not None and cells.shape != shape:
        raise Stop(f"initial gives cells {list(cells.shape)}; they must be {list(shape)}.")
    x = _tried("present", lambda: tasks.present(task, batch, state.model.device))
    start = network.silence(batch.size) if cells is None else cells
    written = _tried("write", lambda: task.write(start.clone(), x))
    if written.shape != shape:
        raise Stop(f"write gives cells {list(written.shape)} of cells {list(shape)}.")
    after, _ = _tried("write", lambda: shown(network, task, batch))
    y = _tried("read", lambda: task.read(after))
    scored = _tried("score", lambda: task.score(y, batch))
    if not (isinstance(scored, tuple) and len(scored) == 2 and isinstance(scored[1], dict)):
        raise Stop("score must give (loss, {name of a metric: number}).")
    loss, metrics = scored
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        raise Stop("score's loss must be one number in a tensor, a mean over the batch.")
    if not bool(torch.isfinite(loss)):
        raise Stop(f"score's loss is {float(loss.detach())}; it must be finite from the start.")
    odd = [name for name, value in metrics.items() if not isinstance(value, (int, float))]
    if odd:
        yield f"score's metric {odd[0]} must be a plain number: float(value)."
    yield from _gradients(state, loss)


def _gradients(state: State, loss: Tensor) -> Wrong:
    state.optimizer.zero_grad()
    if not loss.requires_grad:
        raise Stop("no gradient comes out of score: its loss depends on nothing that learns.")
    loss.backward()
    rule = state.model.network.rule.named_parameters()
    if not any(p.grad is not None and bool(p.grad.any()) for _, p in rule):
        yield "no gradient reaches the lattice: read or score cuts it off (detach, argmax, round)."
    learn = {name: p for name, p in state.model.task.named_parameters() if p.requires_grad}
    idle = [name for name, parameter in learn.items() if parameter.grad is None]
    if idle:
        yield f"no gradient reaches its parameter {', '.join(idle)}: nothing uses it."


def _evaluation(state: State) -> Wrong:
    task, network = state.model.task, state.model.network

    def respond(batch: Batch) -> Tensor:
        y: Tensor = task.read(shown(network, task, batch)[0])
        return y

    with torch.no_grad():
        found = _tried("evaluate", lambda: tasks.evaluate(task, respond, SAMPLES))
    if not isinstance(found, Evaluation):
        raise Stop("evaluate must give a cell_train.tasks.base.Evaluation.")
    if task.primary not in found.metrics:
        told = ", ".join(found.metrics) or "none"
        yield (
            f"the metric {task.primary!r}, its primary, is not among those that evaluation gives"
            f" ({told})."
        )


def _randomness(resolved: ResolvedStage, state: State) -> Wrong:
    """Two of the same seed are the same, whatever else has drawn random numbers."""
    other = _built(resolved, 2).model.task
    fresh = _built(resolved, 3).model.task
    for (name, one), two in zip(
        fresh.state_dict().items(), other.state_dict().values(), strict=True
    ):
        if not torch.equal(one, two):
            yield f"{name} starts otherwise each time: draw it with a generator made of the seed."
    if not _same(fresh, other, "train"):
        yield (
            "its batches are others each time: derive what is random from the seed and the sample's"
            " number (cell_train.tasks.seeds.generator)."
        )


def _state(resolved: ResolvedStage, state: State) -> Wrong:
    """What a checkpoint brings back goes on as the one that was saved."""
    task = state.model.task
    for batch in task.batches("train", _order(task, "train"), MICRO_BATCH):
        cells, _ = shown(state.model.network, task, batch)
        task.score(task.read(cells), batch)[0].backward()
        if hasattr(task, "keep"):
            task.keep(batch, cells.detach())
    state.optimizer.step()
    saved = tasks.saved(task)
    x, y, z = state.model.network.connections.dimensions
    stage = dataclasses.asdict(resolved.stage)
    context = tasks.TaskContext(stage, (x, y, z), state.model.network.size.channels, saved or None)
    _shake(4)
    again = tasks.load(resolved.stage.task, context)
    again.load_state_dict(task.state_dict())
    if not _same(task, again, "train"):
        yield (
            "after a checkpoint its batches are others: keep what changes in a buffer"
            " (register_buffer) or give it out of saved()."
        )
        return
    batch = next(iter(task.batches("train", _order(task, "train"), SAMPLES)))
    cells = shown(state.model.network, task, batch)[0].detach()
    with torch.no_grad():
        before, after = (float(one.score(one.read(cells), batch)[0]) for one in (task, again))
    if before != after:
        yield (
            f"after a checkpoint it scores the same cells with {after:g} instead of {before:g}: "
            "keep what it has learned in parameters or buffers, or give it out of saved()."
        )


def _same(one: Any, two: Any, split: str) -> bool:
    """Whether two tasks give the same batches, whoever has drawn random numbers meanwhile."""
    found = []
    for luck, task in enumerate((one, two), 5):
        _shake(luck)
        found.append(list(task.batches(split, _order(task, split), MICRO_BATCH)))
    return len(found[0]) == len(found[1]) and all(
        torch.equal(getattr(a, name), getattr(b, name))
        for a, b in zip(*found, strict=True)
        for name in a.per_sample
    )


def _order(task: Any, split: str) -> list[int]:
    return list(range(min(SAMPLES, task.size(split))))


def _shake(luck: int) -> None:
    """Another state of all the generators that a task must not lean on."""
    torch.manual_seed(luck)
    np.random.seed(luck)  # the very one that a task must not use
    random.seed(luck)


def _tried(name: str, call: Any) -> Any:
    """What a call of the task's method gives. Raises Stop where it raises."""
    try:
        return call()
    except Exception as error:  # a task of a user's may raise anything
        raise Stop(f"{name} fails: {_told(error)}.") from error


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0].rstrip(".")
