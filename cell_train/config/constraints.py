"""What a value must be beyond its type: one table, used on stage files and overrides alike."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cell_train import plugins
from cell_train.config.task_specs import TASKS

LARGEST = 10**18  # what plans, counters of 64 bits and float32 alike can hold
LARGEST_SEED = 2**63 - 1  # of torch's generators


@dataclass(frozen=True)
class Rule:
    """What a value of the right type must be, to people and to JSON Schema."""

    must: str  # goes on from "must be"
    allows: Callable[[Any], bool]
    schema: Mapping[str, Any]  # the same in draft 7's words


def at_least(low: float) -> Rule:
    return Rule(f"at least {low:g}", lambda value: value >= low, {"minimum": low})


def between(low: int, high: int) -> Rule:
    return Rule(
        f"between {low} and {high}",
        lambda value: low <= value <= high,
        {"minimum": low, "maximum": high},
    )


def above(low: float) -> Rule:
    return Rule(f"more than {low:g}", lambda value: value > low, {"exclusiveMinimum": low})


def none_or_at_least(low: int) -> Rule:
    return Rule(
        f"0 or at least {low}",
        lambda value: value == 0 or value >= low,
        {"anyOf": [{"const": 0}, {"minimum": low}]},
    )


def one_of(*names: str) -> Rule:
    return Rule(f"one of {', '.join(names)}", names.__contains__, {"enum": list(names)})


fraction = Rule(  # a share of the whole, zero and one included
    "between 0 and 1", lambda value: 0 <= value <= 1, {"minimum": 0, "maximum": 1}
)
share = Rule(  # a share of which something must be left
    "more than 0 and at most 1",
    lambda value: 0 < value <= 1,
    {"exclusiveMinimum": 0, "maximum": 1},
)
pruned = Rule(
    "at least 0 and less than 1 (it is the share pruned)",
    lambda value: 0 <= value < 1,
    {"minimum": 0, "exclusiveMaximum": 1},
)


def dimensions(low: int) -> Rule:
    return Rule(
        f"three whole numbers of at least {low}, cells along x, y and z",
        lambda value: len(value) == 3 and all(cells >= low for cells in value),
        {"minItems": 3, "maxItems": 3, "items": {"type": "integer", "minimum": low}},
    )


ascending_pair = Rule(
    "two numbers [low, high] with 0 <= low <= high",
    lambda value: len(value) == 2 and 0 <= value[0] <= value[1],
    {"minItems": 2, "maxItems": 2, "items": {"type": "number", "minimum": 0}},
)


def named(key: str, *own: str) -> Rule:
    """One of celltrain's own, or trusted code as package.module:Name."""
    return Rule(
        f"{', '.join(own)} or {plugins.wanted(key)}",
        lambda value: value in own or plugins.trusted(key, value),
        {"anyOf": [{"enum": list(own)}, {"pattern": r"^[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*$"}]},
    )


def _is_encoder(value: str) -> bool:
    name, _, model = value.partition(":")
    return value in ENCODERS or (name == "sentence-transformers" and bool(model))


ENCODERS = ("vsa", "learned", "precomputed")
encoder = Rule(
    f"{', '.join(ENCODERS)} or sentence-transformers:NAME",
    _is_encoder,
    {"anyOf": [{"enum": list(ENCODERS)}, {"pattern": "^sentence-transformers:."}]},
)


CELL_RULES = ("gated", "isotropic", "growing")  # of celltrain, which the kernels know
RULES: dict[str, Rule] = {
    "stage": at_least(1),
    "epochs": at_least(1),
    "dataset_limit": at_least(1),
    "batch_size": at_least(1),
    "activity_threshold": above(0),
    "task": named("task", *TASKS),
    "objective": one_of("embedding", "text"),
    "seed": between(0, LARGEST_SEED),
    "lattice.dimensions": dimensions(1),
    "lattice.channels": at_least(1),
    "lattice.hidden": at_least(1),
    "lattice.kernels": at_least(1),
    "lattice.rule": named("lattice.rule", *CELL_RULES),
    "lattice.ticks": between(1, 1000),
    "lattice.ticks_from": between(1, 1000),
    "lattice.update_probability": share,
    "lattice.strength_min": at_least(0),
    "lattice.strength_max": above(0),
    "lattice.strength_start": ascending_pair,
    "lattice.backend": one_of("auto", "compiled", "plain"),
    "lattice.connection_density": share,
    "lattice.sparse_connection_ratio": share,
    "plasticity.when": one_of("step", "forward"),
    "plasticity.plasticity_rule": named(
        "plasticity.plasticity_rule", "combined", "triplet", "stdp", "bcm", "competition"
    ),
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
    "plasticity.three_factor.rate": at_least(0),
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
    "data.split": one_of("auto", "lines", "sentences"),
    "training.reads": between(1, 64),
    "data.held_out": at_least(1),
    "data.max_words": between(1, 4096),
    "text.encoder": encoder,
    "text.embedding": at_least(1),
    "text.vocabulary": at_least(8),
    "text.decoder_hidden": at_least(1),
    "text.beam": between(1, 64),
    "recall.patterns": at_least(1),
    "recall.damage": fraction,
    "recall.cue": one_of("noisy", "partial"),
    "recall.shows": at_least(1),
    "recall.held_out": at_least(1),
    "voxels.loss": one_of("mse", "bce", "ce"),
    "voxels.noise": at_least(0),
    "grow.pool": at_least(1),
    "grow.damage": at_least(0),
    "grow.alive": fraction,
    "grow.regrow_ticks": between(1, 1000),
    "grow.persist_ticks": between(1, 100_000),
    "monitor.monitor_every": at_least(0),
    "monitor.samples": at_least(0),
    "monitor.evaluate": at_least(1),
    "monitor.log_every": at_least(0),
    "monitor.control": one_of("none", "bypass", "frozen"),
    # what the plan decided
    "threads": at_least(0),
    "precision": one_of("fp32", "bf16", "fp16"),
    "micro_batch": at_least(1),
    "accumulation": at_least(1),
    "segment": at_least(1),
    "samples_per_epoch": at_least(1),
    # a row of the memory table
    "up_to_gb": above(0),
    "max_dimensions": dimensions(3),
    "sparse_ratio": pruned,
    "batch_size_limit": at_least(1),
    "scale": share,
    "smallest": at_least(3),
}


def broken(key: str, value: Any) -> str | None:
    """What `value` must be to stand at the dotted `key`, or None when it may."""
    if isinstance(value, float) and not math.isfinite(value):
        return "must be a finite number"
    if isinstance(value, (int, float)) and abs(value) > LARGEST and key != "seed":
        return f"must be at most {LARGEST:.0e}"
    if isinstance(value, str) and ("${" in value or value == "???"):
        return "must be plain text; interpolation (${...}, ???) is not supported"
    rule = RULES.get(key)
    allowed = value is None or rule is None or rule.allows(value)
    return None if allowed or rule is None else f"must be {rule.must}"


def words(key: str) -> list[str]:
    """The words that may stand at the dotted `key`, where it is a choice of words."""
    rule = RULES.get(key)
    kinds = rule.schema.get("anyOf", [rule.schema]) if rule else []
    return [word for kind in kinds for word in kind.get("enum", [])]


def is_share(key: str) -> bool:
    """Whether a number of at most one stands at the dotted `key`."""
    rule = RULES.get(key)
    return bool(rule and 1 in (rule.schema.get("maximum"), rule.schema.get("exclusiveMaximum")))
