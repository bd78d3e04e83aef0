"""From a resolved stage and perhaps a checkpoint to everything that trains."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cell_train import plugins
from cell_train.config.schema import ResolvedStage, Stage
from cell_train.errors import CheckpointError, ConfigError
from cell_train.model import lattice
from cell_train.model.cell_rule import CellRule, IsotropicRule, RuleSize
from cell_train.model.kernels import select
from cell_train.model.lattice import Connections, Dimensions
from cell_train.model.network import Network
from cell_train.planning.cost import sizes
from cell_train.plasticity.bcm import BcmRule
from cell_train.plasticity.competition import Bounds, CompetitionRule
from cell_train.plasticity.homeostasis import ScalingRule
from cell_train.plasticity.stdp import StdpRule, Triplet
from cell_train.plasticity.update import RULES, PlasticityRule, PlasticState
from cell_train.tasks import base as tasks
from cell_train.tasks.recall.task import RecallTask
from cell_train.tasks.text.task import TextTask
from cell_train.training import growth
from cell_train.training.rng import derive, generator
from cell_train.training.state import Machine, connections, interpreting, load_module

TASKS = {"text": TextTask, "recall": RecallTask}
CELL_RULES = {"gated": CellRule, "isotropic": IsotropicRule}
STORAGE = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def build(resolved: ResolvedStage, saved: dict[str, Any] | None, cache: Path) -> Machine:
    """Build the stage; `saved` is a checkpoint to grow from, or None for a fresh start."""
    stage = resolved.stage
    device = torch.device(resolved.execution.device.split(":")[0])
    dimensions = _dimensions(stage)
    size = RuleSize(stage.lattice.channels, stage.lattice.hidden, stage.lattice.kernels)
    with interpreting():
        old = connections(saved["connections"]) if saved else None
        if saved and RuleSize(**saved["size"]) != size:
            raise CheckpointError(
                f"the checkpoint's rule has {saved['size']}, the stage asks for {asdict(size)};"
                " set lattice.channels, hidden and kernels to the checkpoint's"
            )
        plastic_state = _plastic_state(stage, saved, old, dimensions, device)
    storage = STORAGE[resolved.execution.precision]
    rule = _rule(stage, size)
    chosen, reason = (
        select.choose(size, device, cache, stage.lattice.backend, storage)
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
            inhibition=stage.lattice.inhibition,
            credited=sizes.credited(stage),
            segment=resolved.execution.segment,
            storage=storage,
        )

    network = network_of(_wire(stage, old, dimensions))
    start = old.dimensions if old else dimensions
    context = tasks.TaskContext(
        asdict(stage), start, size.channels, saved["task_saved"] if saved else None
    )
    if saved:
        with interpreting():
            task = tasks.load(stage.task, TASKS, context)
            load_module(network.rule, saved["rule"], "the cell rule")
            load_module(task, saved["task"], "the task")
        if old is not None and start != dimensions:
            _grow(task.to(device), network_of(old).to(device), network.to(device), resolved)
    else:
        task = tasks.load(stage.task, TASKS, context)
    network.to(device)
    task.to(device)
    network.rule.requires_grad_(stage.monitor.control != "frozen")
    return Machine(
        network=network,
        task=task,
        optimizer=_optimizer(network, task, stage),
        scaler=_scaler(stage, device, storage),
        plasticity=plasticity_rule(stage),
        plastic_state=plastic_state,
        kernel_reason=reason,
        plastic_when=_plastic_when(stage, task),
        grown_from=start if start != dimensions else None,
    )


def _grow(task: Any, before: Network, after: Network, resolved: ResolvedStage) -> None:
    """Fit the task to the grown lattice; where it can, so that it says what it said before."""
    keeps = hasattr(task, "settle") and resolved.stage.monitor.control != "bypass"
    micro_batch = resolved.execution.micro_batch
    said = growth.said(before, task, micro_batch) if keeps else None
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


def plasticity_rule(stage: Stage) -> PlasticityRule:
    """The rules' constants of a stage."""
    section = stage.plasticity
    stdp, bcm, competition = section.stdp, section.bcm, section.competition
    scaling = section.homeostasis
    clustering = section.clustering_config
    return PlasticityRule(
        rule=section.plasticity_rule,
        threshold=stage.activity_threshold,
        stdp=StdpRule(
            learning_rate=stdp.learning_rate,
            time_window=stdp.time_window,
            a_plus=stdp.a_plus,
            a_minus=stdp.a_minus,
            pairing=stdp.pairing,
            coincidence=stdp.coincidence,
            statistic=stdp.statistic,
            persist_traces=section.persist_traces,
        ),
        bcm=BcmRule(bcm.rate * stdp.learning_rate, bcm.theta_rate, bcm.target_activity),
        competition=CompetitionRule(**asdict(competition)),
        bounds=Bounds(stage.lattice.strength_min, stage.lattice.strength_max),
        triplet=Triplet(**asdict(section.triplet)),
        own=None
        if section.plasticity_rule in RULES
        else plugins.load("plasticity.plasticity_rule", section.plasticity_rule),
        credited=section.three_factor.rate * stdp.learning_rate,
        scaling=ScalingRule(scaling.rate, scaling.mean_rate, bcm.target_activity)
        if scaling.rate > 0
        else None,
        priority=clustering.priority if section.enable_clustering else 0.0,
        similarity_threshold=clustering.similarity_threshold,
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


def _wire(stage: Stage, old: Connections | None, dimensions: Dimensions) -> Connections:
    section = stage.lattice
    density = section.connection_density if section.connection_density is not None else 1.0
    seed = derive(stage.seed, "wiring")  # of the run, not the stage: nested choices stay nested
    if old is None:
        low, high = section.strength_start
        return lattice.wire(
            dimensions,
            density=density,
            strengths=(low, high),
            seed=seed,
            periodic=section.periodic,
        )
    return lattice.grow(old, dimensions, density=density, seed=seed, periodic=section.periodic)


def _plastic_state(
    stage: Stage,
    saved: dict[str, Any] | None,
    old: Connections | None,
    dimensions: Dimensions,
    device: torch.device,
) -> PlasticState:
    if saved is None or old is None:
        # A cell at its target activity y0 has the threshold y0.
        theta = torch.full((lattice.cell_count(dimensions),), stage.plasticity.bcm.target_activity)
        return PlasticState(theta.to(device))
    kept = {
        name: lattice.resample(saved["plastic"][name], old.dimensions, dimensions).to(device)
        for name in ("theta", "mean")
        if saved["plastic"].get(name) is not None
    }
    return PlasticState(**kept)


def _optimizer(network: Network, task: Any, stage: Stage) -> torch.optim.Optimizer:
    fast = task.fast_parameters()
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
