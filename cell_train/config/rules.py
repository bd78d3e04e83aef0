"""What a value must be beyond its type: one table, used on stage files and overrides alike."""

import math
from collections.abc import Callable
from typing import Any

Rule = Callable[[Any], str | None]
"""Takes a value of the right type; returns what it must be instead, or None."""


def at_least(low: float) -> Rule:
    return lambda value: None if value >= low else f"must be at least {low:g}"


def above(low: float) -> Rule:
    return lambda value: None if value > low else f"must be more than {low:g}"


def none_or_at_least(low: int) -> Rule:
    return lambda value: None if value == 0 or value >= low else f"must be 0 or at least {low}"


def fraction(value: float) -> str | None:
    """A share of the whole, zero and one included."""
    return None if 0 <= value <= 1 else "must be between 0 and 1"


def share(value: float) -> str | None:
    """A share of which something must be left."""
    return None if 0 < value <= 1 else "must be more than 0 and at most 1"


def pruned(value: float) -> str | None:
    return None if 0 <= value < 1 else "must be at least 0 and less than 1 (it is the share pruned)"


def one_of(*names: str) -> Rule:
    def rule(value: str) -> str | None:
        return None if value in names else f"must be one of {', '.join(names)}"

    return rule


def dimensions(value: list[int]) -> str | None:
    if len(value) == 3 and all(cells >= 3 for cells in value):
        return None
    return "must be three whole numbers of at least 3, cells along x, y and z"


def ascending_pair(value: list[float]) -> str | None:
    if len(value) == 2 and 0 <= value[0] <= value[1]:
        return None
    return "must be two numbers [low, high] with 0 <= low <= high"


def task(value: str) -> str | None:
    if value == "text":
        return None
    module, colon, name = value.partition(":")
    if colon and name.isidentifier() and all(part.isidentifier() for part in module.split(".")):
        return None
    return "must be text or package.module:Task"


RULES: dict[str, Rule] = {
    "stage": at_least(1),
    "epochs": at_least(1),
    "dataset_limit": at_least(1),
    "batch_size": at_least(1),
    "activity_threshold": above(0),
    "task": task,
    "objective": one_of("embedding", "text"),
    "seed": at_least(0),
    "lattice.dimensions": dimensions,
    "lattice.channels": at_least(1),
    "lattice.hidden": at_least(1),
    "lattice.kernels": at_least(1),
    "lattice.ticks": at_least(1),
    "lattice.strength_min": at_least(0),
    "lattice.strength_max": above(0),
    "lattice.strength_start": ascending_pair,
    "lattice.connection_density": share,
    "lattice.sparse_connection_ratio": share,
    "plasticity.plasticity_rule": one_of("combined", "triplet", "stdp", "bcm", "competition"),
    "plasticity.stdp.learning_rate": at_least(0),
    "plasticity.stdp.time_window": above(0),
    "plasticity.stdp.a_plus": at_least(0),
    "plasticity.stdp.a_minus": at_least(0),
    "plasticity.stdp.pairing": one_of("all-to-all", "nearest"),
    "plasticity.stdp.coincidence": one_of("exclusive", "inclusive", "pre-first"),
    "plasticity.stdp.statistic": one_of("covariance", "raw"),
    "plasticity.stdp.samples": at_least(0),
    "plasticity.triplet.minus": above(0),
    "plasticity.triplet.x": above(0),
    "plasticity.triplet.y": above(0),
    "plasticity.triplet.a2_plus": at_least(0),
    "plasticity.triplet.a3_plus": at_least(0),
    "plasticity.triplet.a2_minus": at_least(0),
    "plasticity.triplet.a3_minus": at_least(0),
    "plasticity.homeostasis.rate": fraction,
    "plasticity.homeostasis.mean_rate": share,
    "plasticity.bcm.rate": at_least(0),
    "plasticity.bcm.theta_rate": share,
    "plasticity.bcm.target_activity": above(0),
    "plasticity.competition.winner_boost": at_least(1),
    "plasticity.competition.lateral_inhibition": share,
    "plasticity.competition.winners": at_least(1),
    "plasticity.competition.kappa": fraction,
    "plasticity.clustering_config.similarity_threshold": fraction,
    "plasticity.clustering_config.max_clusters": at_least(1),
    "plasticity.clustering_config.update_frequency": at_least(1),
    "plasticity.clustering_config.priority": fraction,
    "plasticity.emergence_config.pattern_amplification": at_least(1),
    "plasticity.emergence_config.free_ticks": none_or_at_least(200),
    "optimization.mixed_precision.loss_scale": one_of("dynamic", "none"),
    "optimization.sparse_connections.ratio": pruned,
    "training.learning_rate": above(0),
    "training.decoder_learning_rate": above(0),
    "training.weight_decay": at_least(0),
    "training.warmup_steps": at_least(0),
    "training.final_learning_rate": fraction,
    "training.clip_norm": above(0),
    "training.checkpoint_every": above(0),
    "training.keep_checkpoints": at_least(1),
    "training.watchdog": above(0),
    "data.held_out": at_least(1),
    "data.max_words": at_least(1),
    "text.encoder": one_of("vsa", "learned"),
    "text.embedding": at_least(1),
    "text.vocabulary": at_least(8),
    "text.decoder_hidden": at_least(1),
    "monitor.monitor_every": at_least(0),
    "monitor.samples": at_least(0),
    "monitor.evaluate": at_least(1),
    "monitor.log_every": at_least(0),
    # what the plan decided
    "threads": at_least(0),
    "precision": one_of("fp32", "bf16", "fp16"),
    "micro_batch": at_least(1),
    "accumulation": at_least(1),
    "segment": at_least(1),
    "samples_per_epoch": at_least(1),
    # a row of the memory table
    "up_to_gb": above(0),
    "max_dimensions": dimensions,
    "sparse_ratio": pruned,
    "batch_size_limit": at_least(1),
    "scale": share,
    "smallest": at_least(3),
}


def broken(key: str, value: Any) -> str | None:
    """What `value` must be to stand at the dotted `key`, or None when it may."""
    if isinstance(value, float) and not math.isfinite(value):
        return "must be a finite number"
    if isinstance(value, str) and ("${" in value or value == "???"):
        return "must be plain text; interpolation (${...}, ???) is not supported"
    rule = RULES.get(key)
    return None if value is None or rule is None else rule(value)
