"""The one place where a stage's state is made: fresh, grown, or as a checkpoint left it."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from cell_train import plugins
from cell_train.config.schema import ResolvedStage, Stage
from cell_train.errors import CheckpointError, ConfigError
from cell_train.model import lattice
from cell_train.model.cell_rule import CellRule, GrowingRule, IsotropicRule, RuleSize
from cell_train.model.kernels import cpp, select
from cell_train.model.lattice import Connections, Dimensions
from cell_train.model.network import Network
from cell_train.plasticity.update import PlasticState
from cell_train.tasks import base as tasks
from cell_train.tasks.seeds import derive, generator
from cell_train.training.construction import growth
from cell_train.training.construction.bounds import check_strengths
from cell_train.training.construction.plastic_rules import plasticity_rule
from cell_train.training.construction.saved import (
    connections,
    interpreting,
    left,
    load_weights,
    resume,
)
from cell_train.training.state import Model, State

CELL_RULES = {"gated": CellRule, "isotropic": IsotropicRule, "growing": GrowingRule}
STORAGE = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Source:
    """What a stage's model is made of: its wiring, its plastic state, and whose weights."""

    wiring: Connections
    plastic: PlasticState
    saved: dict[str, Any] | None = None  # a checkpoint whose rule and task are taken over
    small: Connections | None = None  # of that checkpoint, where its lattice was another


def build(
    resolved: ResolvedStage,
    keep: cpp.Keep,
    *,
    origin: dict[str, Any] | None = None,
    own: dict[str, Any] | None = None,
) -> State:
    """The state of a stage: as `own`, a checkpoint of it, left it; else grown from `origin`, a
    checkpoint of another stage; else fresh.

    `keep` has the compiled steps. Raises CheckpointError where one does not fit.
    """
    stage = resolved.stage
    source = as_left(stage, own) if own else grown(stage, origin) if origin else fresh(stage)
    if own:
        _check_density(stage, source.wiring)
        if resolved.start_from is None:  # else they may be of another stage's bounds still
            section = stage.lattice
            check_strengths(source.wiring.strength, section.strength_min, section.strength_max)
    model, reason = model_of(resolved, source, keep)
    model.network.rule.requires_grad_(stage.monitor.control != "frozen")
    state = State(
        model=model,
        optimizer=_optimizer(model.network, model.task, stage),
        scaler=_scaler(stage, model.device, model.network.storage),
        kernel_reason=reason,
        grown_from=source.small.dimensions if source.small else None,
    )
    if own:
        resume(state, own, stage.stage)
    return state


def fresh(stage: Stage) -> Source:
    """Strengths drawn at random, and rule and task as they start."""
    section = stage.lattice
    low, high = section.strength_start
    wiring = lattice.wire(
        _dimensions(stage),
        density=_density(stage),
        strengths=(low, high),
        seed=derive(stage.seed, "wiring"),
        periodic=section.periodic,
    )
    # A cell at its target activity y0 has the threshold y0.
    theta = torch.full((wiring.cells,), stage.plasticity.bcm.target_activity)
    return Source(wiring, PlasticState(theta))


def grown(stage: Stage, saved: dict[str, Any]) -> Source:
    """What another stage's checkpoint holds, on this stage's lattice."""
    with interpreting():
        _check_size(stage, saved)
        old = connections(saved["connections"])
        dimensions = _dimensions(stage)
        wiring = lattice.grow(
            old,
            dimensions,
            density=_density(stage),
            seed=derive(stage.seed, "wiring"),  # of the run: nested choices stay nested
            periodic=stage.lattice.periodic,
        )
        kept = {
            name: lattice.resample(saved["plastic"][name], old.dimensions, dimensions)
            for name in ("theta", "mean")
            if saved["plastic"].get(name) is not None
        }
        plastic = PlasticState(**kept)
    return Source(wiring, plastic, saved, old if old.dimensions != dimensions else None)


def as_left(stage: Stage, saved: dict[str, Any]) -> Source:
    """What a checkpoint of this very stage holds."""
    with interpreting():
        _check_size(stage, saved)
    wiring, plastic = left(saved)
    asked = stage.lattice
    if (list(wiring.dimensions), wiring.periodic) != (asked.dimensions, asked.periodic):
        raise CheckpointError(
            f"its lattice is {list(wiring.dimensions)}, the stage's {asked.dimensions};"
            " was the stage changed?"
        )
    return Source(wiring, plastic, saved)


def model_of(resolved: ResolvedStage, source: Source, keep: cpp.Keep) -> tuple[Model, str]:
    """The model made of `source`, and why its step runs as it does."""
    stage, saved = resolved.stage, source.saved
    device = torch.device(resolved.execution.device.split(":")[0])
    storage = STORAGE[resolved.execution.precision]
    size = _size(stage)
    rule = _rule(stage, size)
    chosen, reason = (
        select.choose(size, device, keep, stage.lattice.backend, storage)
        if isinstance(rule, CellRule)
        else (select.PLAIN, f"lattice.rule {stage.lattice.rule}, differentiated by autograd")
    )

    def network_of(wiring: Connections) -> Network:
        return Network(
            wiring.to(device),
            rule,
            size,
            chosen,
            ticks=stage.lattice.ticks or wiring.dimensions[2] + 2,
            update_probability=stage.lattice.update_probability,
            inhibition=stage.lattice.inhibition,
            segment=resolved.execution.segment,
            storage=storage,
        ).to(device)

    task = _task(stage, size, (source.small or source.wiring).dimensions, saved)
    if saved:
        load_weights(rule, task, saved)
    network = network_of(source.wiring)
    task.to(device)
    if source.small:
        _grow(task, network_of(source.small), network, resolved)
    return Model(
        network=network,
        task=task,
        plasticity=plasticity_rule(stage),
        plastic=source.plastic.to(device),
        plastic_when=_plastic_when(stage, task),
        bypassed=stage.monitor.control == "bypass",
    ), reason


def _task(
    stage: Stage, size: RuleSize, dimensions: Dimensions, saved: dict[str, Any] | None
) -> Any:
    """The task as it starts; or, to take over a checkpoint's weights, as that says it was."""
    told = saved["task_saved"] if saved else None
    context = tasks.TaskContext(asdict(stage), dimensions, size.channels, told)
    if saved is None:
        return tasks.load(stage.task, context)
    with interpreting():
        return tasks.load(stage.task, context)


def _check_size(stage: Stage, saved: dict[str, Any]) -> None:
    if RuleSize(**saved["size"]) != _size(stage):
        raise CheckpointError(
            f"the checkpoint's rule has {saved['size']}, the stage asks for"
            f" {asdict(_size(stage))}; set lattice.channels, hidden and kernels to the checkpoint's"
        )


def _check_density(stage: Stage, wiring: Connections) -> None:
    possible = int(lattice.possible(wiring.dimensions, wiring.periodic).sum())
    share = wiring.count / possible
    if abs(share - _density(stage)) > 0.001:  # of equal ranks at the threshold all are kept
        raise CheckpointError(
            f"{share:.1%} of its lattice's connections exist, the stage asks for"
            f" {_density(stage):.1%}; was the stage changed?"
        )


def _size(stage: Stage) -> RuleSize:
    return RuleSize(stage.lattice.channels, stage.lattice.hidden, stage.lattice.kernels)


def _grow(task: Any, before: Network, after: Network, resolved: ResolvedStage) -> None:
    """Fit the task to the grown lattice; where it can, so that it says what it said before."""
    keeps = hasattr(task, "settle") and resolved.stage.monitor.control != "bypass"
    micro_batch = resolved.execution.micro_batch
    said = growth.said(before, task, micro_batch) if keeps else None
    if hasattr(task, "grow"):
        task.grow(after.connections.dimensions)
    task.to(after.connections.strength.device)
    if said is not None:
        growth.settle(after, task, micro_batch, said)


def _plastic_when(stage: Stage, task: Any) -> str:
    """step, forward or never. Raises ConfigError for a task that shows nothing to store."""
    when = stage.plasticity.when if stage.plasticity.enable_plasticity else "never"
    if when == "forward" and not hasattr(task, "shows"):
        raise ConfigError(
            f"plasticity.when forward: the task {stage.task} has no method `shows`, so there is"
            " nothing for plasticity to store; write plasticity.when: step."
        )
    return when


def _scaler(stage: Stage, device: torch.device, storage: torch.dtype) -> torch.amp.GradScaler:
    dynamic = stage.optimization.mixed_precision.loss_scale == "dynamic"
    return torch.amp.GradScaler(
        device.type,
        init_scale=2.0**12,  # the loss is near 1: higher only costs skipped steps
        enabled=dynamic and storage == torch.float16,
    )


def _dimensions(stage: Stage) -> Dimensions:
    x, y, z = stage.lattice.dimensions
    return x, y, z


def _rule(stage: Stage, size: RuleSize) -> nn.Module:
    name = stage.lattice.rule
    make = CELL_RULES.get(name) or plugins.load("lattice.rule", name)
    rule = make(size, generator(stage.seed, "rule"))
    if not isinstance(rule, nn.Module):
        raise ConfigError(f"lattice.rule: {name!r} makes a {type(rule).__name__}, no nn.Module.")
    return rule


def _density(stage: Stage) -> float:
    density = stage.lattice.connection_density
    return 1.0 if density is None else density


def _optimizer(network: Network, task: Any, stage: Stage) -> torch.optim.Optimizer:
    fast = tasks.fast_parameters(task)
    known = {id(parameter) for parameter in fast}
    slow = [p for p in (*network.parameters(), *task.parameters()) if id(p) not in known]
    training = stage.training
    groups = [
        {"params": slow, "lr": training.learning_rate},
        {"params": fast, "lr": training.decoder_learning_rate},
    ]
    for group in groups:
        group["initial_lr"] = group["lr"]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        weight_decay=training.weight_decay,
        fused=True,
    )
