"""All layers merged into one stage, every value knowing its source.

Low to high: package defaults < sections derived from profile names and flags < the stage file <
the memory-budget profile < environment (CELLTRAIN_LATTICE__CHANNELS) < command line (key=value).
"""

import functools
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cell_train.config import overrides, typed, yaml_tree
from cell_train.config.layers import Layer, Values, layer
from cell_train.config.profiles import MemoryRow, Profile, Tables
from cell_train.config.schema import Execution, ResolvedStage, Stage, Triple
from cell_train.config.stage_file import StageFile
from cell_train.errors import ConfigError

DEFAULTS = Path(__file__).with_name("defaults.yaml")
NESTED = ("plasticity", "optimization")


@dataclass(frozen=True)
class Resolution:
    """A stage with every key filled in."""

    stage: Stage
    requested_dimensions: Triple  # before the memory-budget profile's cap
    sources: dict[str, str]  # dotted key -> where its value is from

    def overridden(self, key: str) -> bool:
        """Whether environment or command line set this key."""
        return overrides.is_override(self.sources[key])


def resolve(
    file: StageFile, tables: Tables, profile: Profile, above: Iterable[Layer]
) -> Resolution:
    """One stage file with all layers below and above it.

    Raises ConfigError where the whole is wrong although each part is well formed.
    """
    above, defaults = list(above), _defaults()
    written = Layer(file.values, file.sources)
    flags = {
        key: value for part in (defaults, written, *above) for key, value in part.values.items()
    }
    asking = file.values if "lattice.dimensions" in file.sources else defaults.values
    requested: Triple = asking["lattice"]["dimensions"]
    layers = [defaults, *_derived(flags, tables), written, _memory(requested, profile), *above]
    sources = {key: source for part in layers for key, source in part.sources.items()}
    values = _merge(layers)
    _set_density(values, sources, profile)
    if values["advance_if"] is not None:
        sources.pop("advance_if")  # its keys have sources of their own
    if values["data"]["path"] != "builtin":
        path = Path(values["data"]["path"]).expanduser().absolute()
        values["data"] = {**values["data"], "path": str(path)}
    _check_whole(values, sources)
    return Resolution(typed.build(Stage, values), requested, sources)


def write(resolved: ResolvedStage) -> str:
    """The text of resolved.yaml."""
    return yaml_tree.dump(asdict(resolved))


def read(path: Path) -> ResolvedStage:
    """What `write` wrote. Raises ConfigError naming what is wrong when the file is not that."""
    root = yaml_tree.read(path)
    tree = root.value if isinstance(root.value, dict) else {}
    parts: dict[str, type] = {"stage": Stage, "execution": Execution}
    absent = [name for name in parts if name not in tree]
    if absent:
        raise ConfigError(
            f"{path}: is not a resolved stage, it has no section {absent[0]!r}; start a new run."
        )
    wrong = [
        problem for name, part in parts.items() for problem in typed.problems(tree[name], part)
    ]
    if wrong:
        raise ConfigError("\n".join(wrong))
    try:
        return typed.build(ResolvedStage, yaml_tree.plain(root))
    except (TypeError, KeyError, AttributeError):
        raise ConfigError(
            f"{path}: is not a resolved stage of this version of celltrain; start a new run."
        ) from None


def _derived(flags: Mapping[str, Any], tables: Tables) -> list[Layer]:
    """The sections that the profile name and the flags stand for."""
    name, number = flags["plasticity_profile"], flags["stage"]
    row = tables.plasticity[name]
    clustering, emergence = flags["clustering_enabled"], flags["emergence_tracking"]
    profile: Values = {
        "plasticity.stdp.learning_rate": row.learning_rate,
        "plasticity.stdp.time_window": row.time_window,
        "plasticity.competition.winner_boost": row.winner_boost,
        "plasticity.competition.lateral_inhibition": row.lateral_inhibition,
    }
    optimization: Values = {
        "optimization.mixed_precision.enabled": True,
        "optimization.mixed_precision.loss_scale": "dynamic",
        "optimization.gradient_checkpointing": True,
        "optimization.batch_size_auto_scaling": True,
        "optimization.sparse_connections.enabled": emergence,
        "optimization.sparse_connections.ratio": 0.3 if clustering else 0.1,
    }
    morphology: Values = {
        "plasticity.emergence_config.morphology_tracking": True,
        "plasticity.emergence_config.periodic_structure_detection": True,
        "plasticity.emergence_config.pattern_amplification": 1.2,
        "plasticity.emergence_config.frequency_analysis": True,
        "plasticity.emergence_config.free_ticks": 250,
    }
    late: Values = {"lattice.sparse_connection_ratio": 0.3, "lattice.emergence_tracking": True}
    return [
        layer(profile, f"profile:{name}"),
        layer({"plasticity.enable_clustering": True} if clustering else {}, "clustering_enabled"),
        layer(morphology if emergence else {}, "emergence_tracking"),
        layer(optimization if flags["memory_optimizations"] else {}, "memory_optimizations"),
        layer(late if number >= 4 else {}, "stages 4 and up"),
    ]


def _memory(requested: Triple, profile: Profile) -> Layer:
    """What the memory-budget profile sets: caps, precision, and on cpu the rule's widths."""
    if profile.row is None:
        return Layer({}, {})
    values: Values = {"optimization.mixed_precision.enabled": profile.row.mixed_precision}
    granted = profile.cap(requested)
    if granted != requested:
        values["lattice.dimensions"] = granted
    if not isinstance(profile.row, MemoryRow):
        widths = asdict(profile.row.lattice)
        values |= {f"lattice.{key}": width for key, width in widths.items() if width is not None}
    return layer(values, f"memory:{profile.name}")


def _set_density(values: Values, sources: dict[str, str], profile: Profile) -> None:
    """The fraction of connections kept: the smallest any section or the profile asks for.

    Only environment or command line win over it.
    """
    key = "lattice.connection_density"
    lattice, sparse = values["lattice"], values["optimization"]["sparse_connections"]
    own = lattice["connection_density"]
    if own is not None and overrides.is_override(sources[key]):
        return
    asked: list[tuple[float, str]] = [(1.0, "defaults")]
    if own is not None:
        asked.append((own, sources[key]))
    if lattice["sparse_connection_ratio"] is not None:
        ratio = "lattice.sparse_connection_ratio"
        asked.append((lattice["sparse_connection_ratio"], f"{ratio} ({sources[ratio]})"))
    if sparse["enabled"]:
        ratio = "optimization.sparse_connections.ratio"
        asked.append((1 - sparse["ratio"], f"{ratio} ({sources[ratio]})"))
    if profile.row is not None:
        asked.append((1 - profile.row.sparse_ratio, f"memory:{profile.name}"))
    density, sources[key] = min(asked, key=lambda item: item[0])
    values["lattice"] = {**lattice, "connection_density": round(density, 6)}


def _check_whole(values: Values, sources: Mapping[str, str]) -> None:
    """Raise ConfigError for keys that contradict one another."""
    lattice, gate = values["lattice"], values["advance_if"]
    wrong = []
    low, high = lattice["strength_min"], lattice["strength_max"]
    start = lattice["strength_start"]
    if not low <= start[0] <= start[1] <= high:
        wrong.append(
            f"lattice.strength_start {start} ({sources['lattice.strength_start']}) must lie within"
            f" lattice.strength_min {low:g} and lattice.strength_max {high:g}."
        )
    depth, ticks = lattice["dimensions"][2], lattice["ticks"]
    if ticks is not None and ticks < depth:
        wrong.append(
            f"lattice.ticks {ticks} ({sources['lattice.ticks']}) is too few for a signal to cross"
            f" {depth} cells; write at least {depth}, or null for {depth + 2}."
        )
    if gate is not None and gate.keys() != {"metric", "min"}:
        wrong.append("advance_if needs both its keys, such as {metric: bleu, min: 0.3}.")
    if wrong:
        raise ConfigError("\n".join(f"stage {values['stage']}: {sentence}" for sentence in wrong))


def _merge(parts: Iterable[Layer]) -> Values:
    """The values of all layers, a higher one's over a lower one's, key by key.

    The two sections that hold sections are OmegaConf's; the others are flat, and a union will do
    (OmegaConf on all of them takes longer than the rest of `celltrain plan`).
    """
    from omegaconf import OmegaConf  # late: a third of the time `celltrain --help` takes

    merged: Values = {}
    nested: dict[str, list[Any]] = {name: [] for name in NESTED}
    for part in parts:
        for key, value in part.values.items():
            if key in NESTED:
                nested[key].append(value)
            elif isinstance(value, dict) and isinstance(merged.get(key), dict):
                merged[key] = {**merged[key], **value}
            else:
                merged[key] = value
    for name, sections in nested.items():
        # unsafe only for its inputs, which are made here and used nowhere else
        section = OmegaConf.unsafe_merge(*sections)
        merged[name] = OmegaConf.to_container(section, throw_on_missing=True)
    return merged


@functools.cache
def _defaults() -> Layer:
    root = yaml_tree.read(DEFAULTS)
    return Layer(typed.values(root, Stage), typed.sources(root, Stage, "defaults"))
