"""What happens to the connections beside backpropagation: plasticity, clusters, structures."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from cell_train import limits
from cell_train.analysis import clustering, morphology
from cell_train.analysis.clustering import Clusters
from cell_train.config.schema import Stage
from cell_train.errors import DeadStart
from cell_train.model import lattice
from cell_train.model.lattice import Dimensions
from cell_train.plasticity import Dot
from cell_train.plasticity.update import Affinity, Outcome, Wiring, amplified, plastic_step
from cell_train.tasks.seeds import generator
from cell_train.training.presentation import shown
from cell_train.training.state import Adaptation, Model

LAG = limits.LABELS_KEPT - 1  # epochs after which a cluster should still be the same
DEAD_SHARE = 0.001  # of the cells, spiking at least once in DEAD_STEPS steps
DEAD_STEPS = 200


def observe(adaptation: Adaptation, activity: Tensor, stage: Stage) -> None:
    """Keep a micro-batch's activity [N, T, b], as far as the step still needs samples."""
    seen = sum(part.shape[2] for part in adaptation.history)
    wanted = stage.plasticity.stdp.samples or stage.batch_size
    if seen < wanted:
        adaptation.history.append(activity[:, :, : wanted - seen])


def observed(adaptation: Adaptation) -> list[Tensor]:
    """Sums of what was kept of this step: not finite where any of it is not."""
    return [part.sum() for part in adaptation.history]


def propose(adaptation: Adaptation, model: Model, credit: Tensor | None) -> Outcome:
    """What the step's activity makes of the strengths.

    `credit` [E] is that of the step, where strengths follow a third factor.
    """
    return plastic_step(  # called here, so that nobody but it holds the record
        _wiring(model),
        _recorded(adaptation),
        model.plastic,
        model.plasticity,
        _dot(model),
        adaptation.affinity,
        credit,
    )


def changed(model: Model, activity: Tensor) -> Outcome:
    """What the rules make of the strengths after `activity` [N, T, S]."""
    return plastic_step(_wiring(model), activity, model.plastic, model.plasticity, _dot(model))


def _dot(model: Model) -> Dot:
    connections, kernels = model.network.connections, model.network.kernels
    return lambda at_cell, at_source: kernels.connection_dot(connections, at_cell, at_source)


def watch(adaptation: Adaptation, spiking: float, activity: float, stage: Stage) -> None:
    """Raises DeadStart when hardly a cell has spiked for long, unless little is meant to change.

    `spiking` and `activity` are the step's outcome's.
    """
    quiet = spiking < DEAD_SHARE
    adaptation.quiet_steps = adaptation.quiet_steps + 1 if quiet else 0
    if adaptation.quiet_steps >= DEAD_STEPS and stage.plasticity_profile != "freeze":
        raise DeadStart(
            f"fewer than {DEAD_SHARE:.1%} of the cells spiked over {DEAD_STEPS} steps:"
            f" activity_threshold {stage.activity_threshold:g} is out of reach"
            f" (mean activity {activity:.2g}); lower activity_threshold"
        )


def _recorded(adaptation: Adaptation) -> Tensor:
    """The step's activity [N, T, S], which leaves the history."""
    whole = torch.cat(adaptation.history, 2)
    adaptation.history.clear()
    return whole


def accepted(model: Model, outcome: Outcome) -> Model:
    """The model with a plastic step's strengths in its lattice."""
    return replace(rewired(model, outcome.strength), plastic=outcome.state)


def rewired(model: Model, strength: Tensor) -> Model:
    """The same model with other strengths [E]."""
    connections = model.network.connections.with_strength(strength)
    return replace(model, network=model.network.with_connections(connections))


def refresh_clusters(
    adaptation: Adaptation, model: Model, stage: Stage, epoch: int, micro_batch: int
) -> dict[str, Any]:
    """Group the cells by what they do on the probe set; the figures to report."""
    config = stage.plasticity.clustering_config
    connections = model.network.connections
    depth = torch.arange(connections.cells) % connections.dimensions[2]
    random = generator(stage.seed, stage.stage, "clusters", epoch)
    found = clustering.cluster(
        probe(model, micro_batch).cpu(),
        depth,
        similarity_threshold=config.similarity_threshold,
        max_clusters=config.max_clusters,
        generator=random,
        previous=adaptation.labels,
    )
    labels = found.labels.to(model.device)
    features = found.features.to(model.device)
    ends = labels[connections.cell], labels[connections.source]
    adaptation.affinity = Affinity(
        model.network.kernels.connection_dot(connections, features, features),
        (ends[0] == ends[1]) & (ends[0] >= 0),
    )
    joins = clustering.contiguity(found.labels.view(connections.dimensions))
    earlier = [past for when, past in adaptation.past if when <= epoch - LAG]
    figures: dict[str, Any] = {
        "clusters": found.count,
        "unassigned": found.unassigned,
        "silhouette": found.silhouette,
        "restart_agreement": found.restart_agreement,
        "lag_agreement": (
            clustering.adjusted_rand_index(found.labels, earlier[-1]) if earlier else None
        ),
        "depth_information": found.depth_information,
        "contiguity": joins[0] if joins else None,
        "contiguity_chance": joins[1] if joins else None,
    }
    if epoch + config.update_frequency >= stage.epochs:
        figures |= _worth(found, connections.dimensions, stage, random)
    adaptation.past = [*adaptation.past[-LAG:], (epoch, found.labels)]
    adaptation.labels = found.labels
    adaptation.clustering = figures
    adaptation.clusterings += 1
    return figures


def _worth(
    found: Clusters, dimensions: Dimensions, stage: Stage, random: torch.Generator
) -> dict[str, Any]:
    """The figures that cost more: stability, and all of them on smooth noise for comparison."""
    config = stage.plasticity.clustering_config

    def stability(clusters: Clusters) -> float | None:
        return clustering.jaccard_stability(
            clusters,
            similarity_threshold=config.similarity_threshold,
            generator=random,
            resamples=10,
            restarts=4,
        )

    noise = clustering.cluster(
        clustering.smooth_noise(dimensions, found.features.shape[1], random),
        torch.arange(len(found.features)) % dimensions[2],
        similarity_threshold=0.0,  # at the stage's own threshold noise has no clusters at all
        max_clusters=config.max_clusters,
        generator=random,
    )
    return {
        "jaccard": stability(found),
        "null": {
            "silhouette": noise.silhouette,
            "restart_agreement": noise.restart_agreement,
            "jaccard": stability(noise),
        },
    }


@torch.no_grad()
def probe(model: Model, micro_batch: int) -> Tensor:
    """[N, P] activity profiles: what a cell does at each tick on each of a few training samples.

    Means over the ticks would leave little but each cell's own random projection of a sample.
    """
    task = model.task
    samples = max(limits.PROBE_NUMBERS // model.network.ticks, 2)
    order = list(range(min(samples, task.size("train"))))
    profiles = [
        shown(model.network, task, batch)[1] for batch in task.batches("train", order, micro_batch)
    ]
    return torch.cat(profiles, 2).flatten(1)


def inspect_structure(model: Model, stage: Stage) -> tuple[Model, dict[str, Any]]:
    """The model, of which a significant wave in the mean-strength field is amplified; and what to
    report of that field."""
    config = stage.plasticity.emergence_config
    field = lattice.mean_strength(model.network.connections).cpu()
    report: dict[str, Any] = {}
    if config.frequency_analysis:
        report |= morphology.spectrum_summary(field)
    if not config.periodic_structure_detection:
        return model, report
    found, told = inspect_periods(field)
    amplify = (
        found.significant
        and stage.plasticity.enable_plasticity
        and config.pattern_amplification != 1
    )
    if amplify:
        wave = morphology.amplify(field, found, config.pattern_amplification)
        ratio = torch.where(field > 0, wave / field.clamp_min(1e-6), 1.0).flatten()
        bounds = model.plasticity.bounds
        model = rewired(model, amplified(_wiring(model), ratio.to(model.device), bounds))
    return model, report | told | {"amplified": amplify}


def inspect_periods(field: Tensor) -> tuple[morphology.Periodicity, dict[str, Any]]:
    """Whether a field [X, Y, Z] holds a wave, and how events say it."""
    found = morphology.periodic_structure(field)
    return found, {
        "tested": found.tested,
        "reason": found.reason,
        "p_value": found.p_value,
        "wavevector": list(found.wavevector) if found.wavevector else None,
    }


def _wiring(model: Model) -> Wiring:
    connections = model.network.connections
    return Wiring(connections.strength, connections.exists, connections.place, connections.source)
