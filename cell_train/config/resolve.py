"""All layers merged into one stage, every value knowing its source.

Low to high: package defaults < sections derived from profile names and flags < the stage file <
the memory-budget profile < environment (CELLTRAIN_LATTICE__CHANNELS) < command line (key=value).
"""

import functools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, cast

from cell_train.config import binding, overrides, task_specs
from cell_train.config.constraints import CELL_RULES
from cell_train.config.layers import Layer, Values, layer
from cell_train.config.profiles import MemoryRow, Profile, Tables
from cell_train.config.schema import Execution, ResolvedStage, Stage, Triple
from cell_train.config.stage_file import StageFile
from cell_train.config.task_specs import SHAPES
from cell_train.config.yaml import nodes
from cell_train.config.yaml.nodes import Node
from cell_train.errors import ConfigError, Place, Problem, collecting

DEFAULTS = Path(__file__).with_name("tables") / "defaults.yaml"
NESTED = ("plasticity", "optimization")
PLANNED = ("memory:", "--grow")  # sources that are no wish of anyone, but what memory allows
KNOWN_RULES = CELL_RULES  # whose kernels tell a connection its credit
CREDITED = 0.8  # plasticity.three_factor.rate where a third factor can be had
SPECIFIED_KAPPA = 0.1  # plasticity.competition.kappa as first specified
PATHS = (
    *(("data", "path"), ("data", "held_out_path"), ("text", "embeddings"), ("text", "encoder")),
    *(("voxels", "path"), ("grow", "target")),
)
NAMED = (  # what stands there without being a path
    *("builtin", "hf", "vsa", "learned", "precomputed", "sentence-transformers"),
    *SHAPES,
    "",
)

# A path may hold bytes that are no UTF-8, which Python reads as halves of characters and YAML
# cannot write: in resolved.yaml they are characters for private use.
AS_CHARACTERS = {0xDC00 + byte: 0xF0000 + byte for byte in range(0x80, 0x100)}
AS_BYTES = {character: half for half, character in AS_CHARACTERS.items()}


@dataclass(frozen=True)
class Resolution:
    """A stage with every key filled in."""

    stage: Stage
    requested_dimensions: Triple  # before the memory-budget profile's cap
    sources: dict[str, str]  # dotted key -> where its value is from
    layers: Sequence[Layer]  # low to high, as they were merged

    @property
    def number(self) -> int:
        """The stage's number."""
        return self.stage.stage

    def overridden(self, key: str) -> bool:
        """Whether environment or command line set this key."""
        return overrides.is_override(self.sources[key])

    def history(self, key: str) -> list[tuple[Any, str]]:
        """(value, source) of every layer that set a key, low to high; the last one won."""
        return [(part.value(key), part.sources[key]) for part in self.layers if key in part.sources]

    def granted(self) -> dict[str, tuple[Any, Any]]:
        """(what it was, what it is) for the keys that the plan's terms changed."""
        found = {}
        for key, source in self.sources.items():
            if source.startswith(PLANNED):
                *_, (before, _), (now, _) = self.history(key)
                if before != now:
                    found[key] = (before, now)
        return found

    def place(self, key: str) -> Place:
        """Where the value of a key, or the last key of a section, is written."""
        written = [part.places[key] for part in self.layers if key in part.places]
        return written[-1] if written else Place(self.sources.get(key, DEFAULTS.name))


def resolve(
    file: StageFile, tables: Tables, profile: Profile, above: Iterable[Layer]
) -> Resolution:
    """One stage file with all layers below and above it.

    Raises ConfigError where the whole is wrong although each part is well formed.
    """
    above, base = list(above), defaults()
    written = Layer(file.values, file.sources, file.places)
    flags = {key: value for part in (base, written, *above) for key, value in part.values.items()}
    asking = file.values if "lattice.dimensions" in file.sources else base.values
    requested: Triple = asking["lattice"]["dimensions"]
    derived = [*_derived(flags, tables), _plastic([base, written, *above])]
    memory = _memory(requested, profile, task_specs.of(flags["task"]).fixed)
    layers = [base, *derived, written, memory, *above]
    sources = {key: source for part in layers for key, source in part.sources.items()}
    values = _merge(layers)
    density = _densities(values, sources, profile)
    for part in density:
        values["lattice"] = {**values["lattice"], **part.values["lattice"]}
        sources |= part.sources
    if values["advance_if"] is not None:
        sources.pop("advance_if")  # its keys have sources of their own
        _require_whole_gate(values, layers)
    for section, key in PATHS:
        values[section] = {**values[section], key: _absolute(values[section][key])}
    stage = binding.build(Stage, values)
    return Resolution(stage, requested, sources, [*layers, *density])


def write(resolved: ResolvedStage) -> str:
    """The text of resolved.yaml."""
    return nodes.dump(_translated(asdict(resolved), AS_CHARACTERS))


def read(path: Path) -> ResolvedStage:
    """What `write` wrote. Raises ConfigError naming what is wrong when the file is not that."""
    with collecting() as wrong:
        root = nodes.read(path, wrong)
    assert root is not None
    found = checked(root, str(path))
    tree = asdict(found)
    back = _translated(tree, AS_BYTES)
    return found if back == tree else binding.build(ResolvedStage, back)


def _translated(value: Any, table: Mapping[int, int]) -> Any:
    """The same with every text translated."""
    if isinstance(value, str):
        return value.translate(table)
    if isinstance(value, dict):
        return {key: _translated(inner, table) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_translated(one, table) for one in value)
    return value


def checked(root: Node, name: str) -> ResolvedStage:
    """A resolved stage from a tree that a stranger may have written, called `name` in errors.

    Raises ConfigError with all that is wrong in it.
    """
    tree = root.value if isinstance(root.value, dict) else {}
    parts: dict[str, type] = {"stage": Stage, "execution": Execution}
    absent = [part for part in parts if part not in tree]
    if absent:
        raise ConfigError(
            f"{name}: is not a resolved stage, it has no section {absent[0]!r}; start a new run."
        )
    with collecting() as wrong:
        for part, kind in parts.items():
            binding.check(tree[part], kind, wrong)
    unsaid = [
        *_empty_sections(tree["stage"], Stage, name),
        *_unsaid_sources(tree.get("sources"), name),
    ]
    if unsaid:
        raise ConfigError("\n".join(unsaid))
    try:
        return binding.build(ResolvedStage, nodes.plain(root))
    except (TypeError, KeyError, AttributeError):
        raise ConfigError(
            f"{name}: is not a resolved stage of this version of celltrain; start a new run."
        ) from None


def _empty_sections(node: Node, cls: type, name: str) -> Iterator[str]:
    """Sections that a stage file may leave empty and a resolved stage may not."""
    for key, kind in binding.hints(cls).items():
        section, optional = binding.options(kind)
        if is_dataclass(section) and not optional:
            child = node.value.get(key)
            if child is None or child.value is None:
                yield f"{name}: is not a resolved stage, its section {key!r} is empty."
            else:
                yield from _empty_sections(child, cast(type, section), name)


def _unsaid_sources(node: Node | None, name: str) -> Iterator[str]:
    said = {} if node is None else node.value
    if not isinstance(said, dict) or any(isinstance(v.value, (dict, list)) for v in said.values()):
        yield f"{name}: sources must say for each key where its value is from."


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


def _plastic(asked: Sequence[Layer]) -> Layer:
    """What plasticity adds where it can, or as it was first specified: docs/science.md has why.

    A third factor needs a loss and a rule whose kernels celltrain knows.
    """
    if _asked("plasticity.as_specified", asked):
        return layer({"plasticity.competition.kappa": SPECIFIED_KAPPA}, "plasticity.as_specified")
    plastic = _asked("plasticity.enable_plasticity", asked)
    loss = plastic and _asked("plasticity.when", asked) == "step"
    known = _asked("lattice.rule", asked) in KNOWN_RULES
    values = {"plasticity.three_factor.rate": CREDITED} if loss and known else {}
    return layer(values, "a task with a loss")


def _asked(key: str, layers: Sequence[Layer]) -> Any:
    """The value of a key in the highest of these layers that has it."""
    return next(part.value(key) for part in reversed(layers) if key in part.sources)


def _memory(requested: Triple, profile: Profile, fixed: bool) -> Layer:
    """What the memory-budget profile sets: caps, precision, and on cpu the rule's widths.

    Of a task whose data are `fixed` in size it sets no size.
    """
    if profile.row is None:
        return Layer({}, {})
    values: Values = {"optimization.mixed_precision.enabled": profile.row.mixed_precision}
    if fixed:
        return layer(values, f"memory:{profile.name}")
    granted = profile.cap(requested)
    if granted != requested:
        values["lattice.dimensions"] = granted
    if not isinstance(profile.row, MemoryRow):
        widths = asdict(profile.row.lattice)
        values |= {f"lattice.{key}": width for key, width in widths.items() if width is not None}
    return layer(values, f"memory:{profile.name}")


def _densities(values: Values, sources: Mapping[str, str], profile: Profile) -> list[Layer]:
    """The fractions of connections kept that sections and the profile ask for, smallest last.

    The smallest holds. Only environment or command line win over it; then there are none.
    """
    key = "lattice.connection_density"
    lattice, sparse = values["lattice"], values["optimization"]["sparse_connections"]
    own = lattice["connection_density"]
    if own is not None and overrides.is_override(sources[key]):
        return []
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
    asked.reverse()  # of equals the first holds
    asked.sort(key=lambda item: item[0], reverse=True)
    return [layer({key: round(fraction, 6)}, source) for fraction, source in asked]


def _absolute(path: str | None) -> str | None:
    """A path that still leads there from another folder; of NAME:PATH only what is a folder."""
    if path is None:
        return None
    name, colon, rest = path.partition(":")
    if name not in NAMED:
        return str(Path(os.path.expanduser(path)).absolute())  # ~nobody stays
    folder = Path(os.path.expanduser(rest))
    return f"{name}:{folder.absolute()}" if colon and folder.is_dir() else path


def _require_whole_gate(values: Values, layers: Sequence[Layer]) -> None:
    """Raise ConfigError for a gate of which a key is missing."""
    if values["advance_if"].keys() == {"metric", "min"}:
        return
    places = [part.places["advance_if"] for part in layers if "advance_if" in part.places]
    fix = "write for instance {metric: bleu, min: 0.3}"
    problem = Problem(places[-1], "advance_if needs both its keys", fix, "advance_if")
    raise ConfigError(str(problem), [problem])


def _merge(parts: Iterable[Layer]) -> Values:
    """The values of all layers, a higher one's over a lower one's, key by key.

    The two sections that hold sections are OmegaConf's, laid over the defaults; the others are
    flat, and a union will do (OmegaConf on all of them takes longer than the rest of
    `celltrain plan`).
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
    for name, (base, *written) in nested.items():
        # unsafe only for its inputs, which are made here and used nowhere else
        section = OmegaConf.unsafe_merge({}, *written)
        merged[name] = _over(base, OmegaConf.to_container(section, throw_on_missing=True))
    return merged


def _over(low: Values, high: Any) -> Values:
    """`low` with what `high` says in its place, section by section."""
    both = {key: _over(low[key], value) for key, value in high.items() if isinstance(value, dict)}
    return {**low, **high, **both}


@functools.cache
def defaults() -> Layer:
    """The package's own values, below all others."""
    with collecting() as wrong:
        root = nodes.read(DEFAULTS, wrong)
    assert root is not None
    return Layer(binding.values(root, Stage), binding.sources(root, Stage, "defaults"))
