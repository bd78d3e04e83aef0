"""The profile tables: plasticity regimes and memory budgets, the package's and a user's."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cell_train.config import binding
from cell_train.config.schema import Triple
from cell_train.config.yaml import nodes
from cell_train.config.yaml.nodes import Node
from cell_train.config.yaml.suggestions import did_you_mean, nearest
from cell_train.errors import ConfigError, Place, Problem, collecting

PACKAGE_TABLES = Path(__file__).with_name("tables") / "profiles.yaml"
CPU, FIT = "cpu", "fit"


@dataclass(frozen=True)
class PlasticityRow:
    """What a plasticity profile sets."""

    learning_rate: float
    time_window: float  # ticks
    winner_boost: float
    lateral_inhibition: float


@dataclass(frozen=True)
class MemoryRow:
    """Caps that hold up to a size of memory."""

    up_to_gb: float | None  # GiB; None: any
    max_dimensions: Triple
    mixed_precision: bool
    sparse_ratio: float  # fraction pruned
    batch_size_limit: int  # samples a forward pass


@dataclass(frozen=True)
class LatticeWidths:
    """A narrower rule than the stage's."""

    channels: int | None = None
    hidden: int | None = None
    kernels: int | None = None


@dataclass(frozen=True)
class CpuRow:
    """Caps that hold without a GPU."""

    scale: float  # of the stage's dimensions, per axis
    smallest: int  # cells per axis, at least
    mixed_precision: bool
    sparse_ratio: float
    batch_size_limit: int
    lattice: LatticeWidths = LatticeWidths()
    samples: dict[int, int] = field(default_factory=dict)  # stage -> samples over all its epochs


@dataclass(frozen=True)
class Tables:
    plasticity: dict[str, PlasticityRow]
    memory: dict[str, MemoryRow]  # smallest budget first
    cpu: CpuRow


@dataclass(frozen=True)
class Profile:
    """The memory-budget profile that applies, whichever table it is from."""

    name: str
    row: MemoryRow | CpuRow | None  # None: `fit`, the memory model alone decides

    @property
    def batch_size_limit(self) -> int | None:
        return self.row.batch_size_limit if self.row else None

    @property
    def samples(self) -> dict[int, int]:
        return self.row.samples if isinstance(self.row, CpuRow) else {}

    def cap(self, dimensions: Triple) -> Triple:
        """The dimensions [X, Y, Z] it grants to a stage that asks for `dimensions`."""
        if isinstance(self.row, MemoryRow):
            return [min(*axis) for axis in zip(dimensions, self.row.max_dimensions, strict=True)]
        if isinstance(self.row, CpuRow):
            row = self.row
            return [max(min(row.smallest, cells), int(cells * row.scale)) for cells in dimensions]
        return list(dimensions)


def load(extra: Path | None = None) -> Tables:
    """The package's tables, with a user's rows added or put in place of those of the same name.

    Raises ConfigError with every problem of the user's file.
    """
    with collecting() as wrong:
        tables = nodes.read(PACKAGE_TABLES, wrong)
        own = nodes.read(extra, wrong) if extra is not None else None
        if own is not None:
            wrong += _problems(own, partial=True)
    assert tables is not None
    if own is not None:
        tables = _merged(tables, own)
        with collecting() as wrong:
            wrong += _problems(tables, partial=False)
    sections = tables.value
    memory = {
        name: binding.build(MemoryRow, binding.values(row, MemoryRow))
        for name, row in sections["memory"].value.items()
    }
    cpu = {k: v for k, v in sections["cpu"].value.items() if k != "samples"}
    limits = sections["cpu"].value["samples"]
    return Tables(
        plasticity={
            name: binding.build(PlasticityRow, binding.values(row, PlasticityRow))
            for name, row in sections["plasticity"].value.items()
        },
        memory=dict(sorted(memory.items(), key=lambda item: item[1].up_to_gb or float("inf"))),
        cpu=replace(
            binding.build(CpuRow, binding.values(replace(sections["cpu"], value=cpu), CpuRow)),
            samples={int(stage): total.value for stage, total in (limits.value or {}).items()},
        ),
    )


def choose(tables: Tables, name: str | None, available_gb: float | None) -> Profile:
    """The profile by name, or else the row for so many GiB of GPU memory (None: no GPU).

    Raises ConfigError for a name no table holds.
    """
    if name is None:
        name = CPU if available_gb is None else _row_for(tables.memory, available_gb)
    if name == CPU:
        return Profile(CPU, tables.cpu)
    if name == FIT:
        return Profile(FIT, None)
    if name in tables.memory:
        return Profile(name, tables.memory[name])
    known = [*tables.memory, CPU, FIT]
    fix = did_you_mean(nearest(name, known)) or f"known are {', '.join(known)}"
    problem = Problem(Place("--profile"), f"memory profile {name!r} is unknown", fix)
    raise ConfigError(str(problem), [problem])


def _row_for(memory: dict[str, MemoryRow], available_gb: float) -> str:
    for name, row in memory.items():
        if row.up_to_gb is None or available_gb <= row.up_to_gb:
            return name
    return list(memory)[-1]  # a table that a user has given an upper end


def _merged(base: Node, own: Node) -> Node:
    """`own`'s entries over `base`'s, section by section and row by row."""
    merged = dict(base.value)
    for key, child in own.value.items():
        both = key in merged and isinstance(merged[key].value, dict)
        if both and isinstance(child.value, dict):
            child = _merged(merged[key], child)
        if child.value is not None or not both:
            merged[key] = child
    return replace(base, value=merged)


def _problems(root: Node, *, partial: bool) -> list[Problem]:
    """What is wrong with profile tables; a `partial` file's rows may lean on what they replace."""
    kinds: dict[str, Any] = {"plasticity": PlasticityRow, "memory": MemoryRow}
    wrong: list[Problem] = []
    if not isinstance(root.value, dict):
        return [Problem(root.where, "must hold the sections plasticity, memory or cpu")]
    for section, table in root.value.items():
        if section not in (*kinds, CPU):
            guess = did_you_mean(nearest(section, (*kinds, CPU)))
            where = table.key_where or table.where
            wrong.append(Problem(where, f"unknown section {section!r}", guess))
        elif not isinstance(table.value, dict):
            if table.value is not None:
                wrong.append(Problem(table.where, f"{section} must be a table of rows"))
        elif section == CPU:
            _check_cpu(table, wrong)
        else:
            for row in table.value.values():
                binding.check(row, kinds[section], wrong)
                if not partial and isinstance(row.value, dict):
                    wrong += [
                        Problem(row.where, f"{key} is missing from this {section} profile")
                        for key in binding.hints(kinds[section])
                        if key not in row.value
                    ]
    return wrong


def _check_cpu(table: Node, wrong: list[Problem]) -> None:
    """The cpu section, whose `samples` are a table by stage number."""
    rest = {key: node for key, node in table.value.items() if key != "samples"}
    binding.check(replace(table, value=rest), CpuRow, wrong)
    samples = table.value.get("samples")
    if samples is None or samples.value is None:
        return
    if not isinstance(samples.value, dict):
        fix = "write for instance {1: 1500, 2: 3000}"
        wrong.append(Problem(samples.where, "samples must be a table", fix))
        return
    for stage, total in samples.value.items():
        if not stage.isdigit():
            where = total.key_where or total.where
            wrong.append(Problem(where, f"samples are by stage number, not {stage!r}"))
        elif type(total.value) is not int or total.value < 1:
            wrong.append(Problem(total.where, f"samples of stage {stage} must be at least 1"))
