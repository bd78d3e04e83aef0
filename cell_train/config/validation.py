"""What only the whole shows: keys that contradict one another, stages that do, absent files."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice, pairwise
from pathlib import Path

from cell_train.config import metrics, overrides, profiles, stage_file, task_specs
from cell_train.config.layers import Layer
from cell_train.config.profiles import Profile, Tables
from cell_train.config.resolve import KNOWN_RULES, Resolution, resolve
from cell_train.config.stage_file import StageFile
from cell_train.config.yaml.suggestions import did_you_mean, nearest
from cell_train.errors import ConfigError, Problem


def resolve_all(
    files: Iterable[StageFile],
    tables: Tables,
    profile: Profile,
    above: Sequence[Layer],
    wrong: list[Problem],
) -> list[Resolution]:
    """Every stage resolved; `wrong` grows by what does not go together in and between them."""
    stages: list[Resolution] = []
    grows: list[Resolution] = []
    for file in files:
        try:
            one = resolve(file, tables, profile, above)
        except ConfigError as error:
            told = {key.partition(".")[0] for key in file.wrong}
            wrong += [problem for problem in error.problems if problem.key not in told]
            continue
        wrong += contradictions(one, file.wrong)
        stages.append(one)
        if not (file.optional or "lattice.dimensions" in file.wrong):
            grows.append(one)
    wrong += shrinking(grows)
    return stages


def contradictions(one: Resolution, ignored: Collection[str] = ()) -> Iterator[Problem]:
    """Keys of a stage that cannot stand together; `ignored` are wrong in themselves."""
    lattice, sources = one.stage.lattice, one.sources
    start, low, high = "lattice.strength_start", "lattice.strength_min", "lattice.strength_max"
    values = [lattice.strength_min, *lattice.strength_start, lattice.strength_max]
    if values != sorted(values) and not {start, low, high} & {*ignored}:
        message = (
            f"{start} {lattice.strength_start} ({sources[start]}) must lie within"
            f" {low} {lattice.strength_min:g} ({sources[low]}) and"
            f" {high} {lattice.strength_max:g} ({sources[high]})"
        )
        key = next((key for key in (start, high, low) if sources[key] != "defaults"), start)
        yield Problem(one.place(key), message, "change one of the three", key)
    yield from timing(one, ignored)
    spec = task_specs.of(one.stage.task)
    for key, message, fix in spec.wrong(one.stage) if not ignored else ():
        said = f"{key} {message.format(sources[key])}"
        yield Problem(one.place(key), said, fix, key)
    yield from flat(one, ignored)
    yield from gated(one, ignored)
    yield from storing(one, ignored)
    yield from crediting(one, ignored)


def timing(one: Resolution, ignored: Collection[str]) -> Iterator[Problem]:
    """Too few ticks for a signal to cross, or a range of them that is upside down."""
    lattice, sources = one.stage.lattice, one.sources
    depth, most = lattice.dimensions[2], lattice.ticks or lattice.dimensions[2] + 2
    crosses = task_specs.of(one.stage.task).crosses
    for key, ticks in (
        ("lattice.ticks", lattice.ticks),
        ("lattice.ticks_from", lattice.ticks_from),
    ):
        if ticks is None or {key, "lattice.dimensions"} & {*ignored}:
            continue
        said = f"{key} {ticks} ({sources[key]})"
        if crosses and ticks < depth:
            message = f"{said} is too few for a signal to cross {depth} cells"
            fix = f"write at least {depth}, or null for {depth + 2}"
            yield Problem(one.place(key), message, fix, key)
        elif ticks > most:
            message = f"{said} is more than the {most} ticks of a presentation"
            yield Problem(one.place(key), message, f"write at most {most}", key)


def flat(one: Resolution, ignored: Collection[str]) -> Iterator[Problem]:
    """Axes too short for the task or for wrapping around."""
    key = "lattice.dimensions"
    dimensions, periodic = one.stage.lattice.dimensions, one.stage.lattice.periodic
    crosses = task_specs.of(one.stage.task).crosses
    if key in ignored:
        return
    if crosses and min(dimensions) < 3:
        why, fix = f"task {one.stage.task} needs at least 3 along each axis", "write at least 3"
    elif periodic and min(dimensions[:2]) < 3:
        why, fix = "lattice.periodic needs at least 3 along x and y", "write periodic: false"
    else:
        return
    yield Problem(one.place(key), f"{key} {dimensions} ({one.sources[key]}): {why}", fix, key)


def gated(one: Resolution, ignored: Collection[str]) -> Iterator[Problem]:
    """A gate of a metric that the stage does not measure."""
    gate, key = one.stage.advance_if, "advance_if.metric"
    said = metrics.unknown(gate.metric, one.stage) if gate and key not in ignored else None
    if said is not None:
        yield Problem(one.place(key), f"{key}: {said[0]}", said[1], key)


def storing(one: Resolution, ignored: Collection[str]) -> Iterator[Problem]:
    """A task of celltrain's whose strengths change when it has no use for that."""
    key, rules = "plasticity.when", one.stage.plasticity
    spec = task_specs.of(one.stage.task)
    wanted = spec.when or rules.when
    if rules.enable_plasticity and rules.when != wanted and not {key, "task"} & {*ignored}:
        message = f"{key} {rules.when} ({one.sources[key]}): task {one.stage.task} {spec.why}"
        set_by = next((k for k in (key, "task") if one.sources[k] != "defaults"), key)
        yield Problem(one.place(set_by), message, f"write {key}: {wanted}", set_by)


def crediting(one: Resolution, ignored: Collection[str]) -> Iterator[Problem]:
    """A third factor where nothing tells a cell its part in the loss."""
    key, rules, rule = "plasticity.three_factor.rate", one.stage.plasticity, one.stage.lattice.rule
    if not rules.three_factor.rate or not rules.enable_plasticity or key in ignored:
        return
    if rules.when == "forward":
        why = "plasticity.when forward stores without a loss"
    elif rule not in KNOWN_RULES:
        why = f"lattice.rule {rule} is not celltrain's own, whose kernels it needs"
    else:
        return
    message = f"{key} {rules.three_factor.rate:g} ({one.sources[key]}): {why}"
    yield Problem(one.place(key), message, f"write {key}: 0", key)


def shrinking(stages: Iterable[Resolution]) -> Iterator[Problem]:
    """Stages whose lattice is smaller than that of the stage they start from."""
    key = "lattice.dimensions"
    for before, after in pairwise(stages):
        old, new = before.stage.lattice.dimensions, after.stage.lattice.dimensions
        if any(cells < had for had, cells in zip(old, new, strict=True)):
            message = (
                f"stage {after.number} shrinks the lattice to {new}, below the {old} of stage"
                f" {before.number}, which it starts from"
            )
            larger = [max(axis) for axis in zip(old, new, strict=True)]
            yield Problem(after.place(key), message, f"write at least {larger}", key)


def missing_data(stages: Iterable[Resolution]) -> Iterator[Problem]:
    """Files of data that are not there, each said once where it is written."""
    said = set()
    for one in stages:
        for key, name in task_specs.named_files(one.stage).items():
            path, place = Path(name), one.place(key)
            # built-in text and datasets have a name alone
            if not path.is_absolute() or path.is_file() or (path, place) in said:
                continue
            said.add((path, place))
            what = "is no file" if path.exists() else "is not there"
            fix = _file_meant(path) or "relative paths begin at the folder you are in"
            yield Problem(place, f"{key} {path} {what}", fix, key)


def _file_meant(path: Path) -> str:
    """The question whether a file beside it was meant."""
    try:
        found = [entry.name for entry in islice(path.parent.iterdir(), 1000) if entry.is_file()]
    except (OSError, ValueError):  # a path may hold what no file system takes
        return ""
    names = {name.partition(".")[0]: name for name in found}  # all end in .txt, which says little
    near = nearest(path.name.partition(".")[0], names)
    return did_you_mean(str(path.with_name(names[near]))) if near else ""


def check(
    paths: Iterable[Path], own_tables: Path | None, environment: Mapping[str, str]
) -> list[Problem]:
    """Everything wrong with stage files, a user's profiles and the environment together.

    Stages are taken as they ask to be, under no memory-budget profile.
    """
    wrong: list[Problem] = []
    tables, above = profiles.load(), list[Layer]()
    try:
        tables = profiles.load(own_tables)
    except ConfigError as error:
        wrong += error.problems
    unsure = "plasticity_profile" if wrong else None  # it may name a row that could not be read
    found: list[Problem] = []
    try:
        above = overrides.read((), environment, tables.plasticity)
    except ConfigError as error:
        found += error.problems
    files = stage_file.read_all(paths, tables.plasticity, found)
    free = profiles.choose(tables, profiles.FIT, None)
    stages = resolve_all(files.values(), tables, free, above, found)
    found += missing_data(stages)
    return [*wrong, *(problem for problem in found if problem.key != unsure)]
