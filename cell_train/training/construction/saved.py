"""A checkpoint's contents, which may come from a stranger, checked and put into a state."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from cell_train.errors import CheckpointError, starved
from cell_train.model import lattice
from cell_train.model.lattice import NEIGHBOURS, Connections
from cell_train.plasticity.update import PlasticState
from cell_train.training.construction.bounds import (
    LARGEST,
    check_adaptation,
    check_moments,
    check_plastic,
    check_scaler,
    check_totals,
    is_row,
)
from cell_train.training.state import Adaptation, State, Totals

STRANGE = (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError)


def restore(state: State, saved: dict[str, Any], stage: int) -> None:
    """Put a checkpoint of this very stage back, all of it: what follows is bit-identical.

    Raises CheckpointError where it holds something else, perhaps halfway: restore another then.
    """
    model = state.model
    wiring, plastic = left(saved)
    load_weights(model.network.rule, model.task, saved)
    resume(state, saved, stage)
    network = model.network.with_connections(wiring.to(model.device))
    state.model = replace(model, network=network, plastic=plastic.to(model.device))


def resume(state: State, saved: dict[str, Any], stage: int) -> None:
    """All of a checkpoint of this very stage but its model. Raises CheckpointError."""
    with interpreting():
        totals = Totals(**saved["totals"])
        if saved["stage"] != stage:
            raise ValueError(f"it is of stage {saved['stage']}")
        check_totals(totals)
        wiring = state.model.network.connections
        adaptation = Adaptation.restored(saved["adaptation"], state.model.device)
        check_adaptation(adaptation, wiring.cells, wiring.count)
        _restore_optimizer(state, saved["optimizer"]["state"])
        check_scaler(saved["scaler"])
        if saved["scaler"]:  # empty where it scaled nothing: before memory ran out in float32
            state.scaler.load_state_dict(saved["scaler"])
    state.adaptation, state.totals = adaptation, totals


def load_weights(rule: nn.Module, task: nn.Module, saved: dict[str, Any]) -> None:
    with interpreting():
        load_module(rule, saved["rule"], "the cell rule")
        load_module(task, saved["task"], "the task")


def left(saved: dict[str, Any]) -> tuple[Connections, PlasticState]:
    """The strengths and the plastic state that a checkpoint holds. Raises CheckpointError."""
    with interpreting():
        wiring = connections(saved["connections"])
        plastic = PlasticState(**saved["plastic"])
        check_plastic(plastic, wiring.cells)
    return wiring, plastic


@contextlib.contextmanager
def interpreting() -> Iterator[None]:
    """What a checkpoint's contents make the code inside raise is the checkpoint's fault."""
    try:
        yield
    except STRANGE as error:
        if starved(error):
            raise
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise CheckpointError(
            f"the checkpoint does not hold what this stage saves ({reason})"
        ) from error


def connections(saved: dict[str, Any]) -> Connections:
    """A checkpoint's connections. Raises CheckpointError unless they hang together.

    The compiled step follows mask and start without looking: they must not lead outside.
    """
    x, y, z = (int(size) for size in saved["dimensions"])
    mask, start, strength = (saved[name] for name in ("mask", "start", "strength"))
    dimensions, cells = (x, y, z), x * y * z
    sound = (
        min(dimensions) >= 3
        and is_row(mask, torch.int32, cells)
        and is_row(start, torch.int64, cells + 1)
        and is_row(strength, torch.float32, strength.numel())
    )
    if sound:
        bits = torch.arange(NEIGHBOURS, dtype=torch.int32)
        exists = (mask[:, None] >> bits).bitwise_and(1).bool()
        begins = torch.cat((torch.zeros(1, dtype=torch.int64), exists.sum(1).cumsum(0)))
        sound = (
            not bool((exists & ~lattice.possible(dimensions, bool(saved["periodic"]))).any())
            and not bool((mask >> NEIGHBOURS).any())
            and torch.equal(start, begins)
            and strength.numel() == int(begins[-1])
            and bool(((strength >= 0) & (strength <= LARGEST)).all())
        )
    if not sound:
        raise CheckpointError("the checkpoint's connections do not hang together")
    return Connections(
        dimensions,
        bool(saved["periodic"]),
        mask.contiguous(),
        start.contiguous(),
        strength.contiguous(),
    )


def load_module(module: nn.Module, saved: dict[str, Any], what: str) -> None:
    """Parameters and buffers from a checkpoint. Raises CheckpointError unless all fit."""
    try:
        module.load_state_dict(saved)
    except RuntimeError as error:
        detail = str(error).splitlines()[-1].strip()
        raise CheckpointError(
            f"{what} in the checkpoint does not fit the stage's: {detail}"
        ) from error
    for name, parameter in module.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise CheckpointError(f"{what} in the checkpoint holds numbers not finite ({name})")


def _restore_optimizer(state: State, saved: dict[int, Any]) -> None:
    """The moments; rates and decay stay the stage's own."""
    parameters = state.parameters()
    for index, moments in saved.items():
        shape = parameters[index].shape
        check_moments(index, moments, shape)
    groups = state.optimizer.state_dict()["param_groups"]
    state.optimizer.load_state_dict({"state": saved, "param_groups": groups})
