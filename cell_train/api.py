"""What `import cell_train` offers: a plan, a run, and what a run has trained."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from cell_train.errors import ConfigError
from cell_train.events import Event
from cell_train.planning import plan_file, request
from cell_train.planning.plan import Plan
from cell_train.planning.request import Request
from cell_train.run_folder import folder
from cell_train.runner import execute

if TYPE_CHECKING:
    from cell_train.training.trained_model import TrainedModel


class Choices(TypedDict, total=False):
    """What `plan` and `run` may be asked for besides the stages; the command line's options."""

    overrides: Mapping[str, Any]  # keys of all selected stages, {"lattice.channels": 8}
    stages_dir: str | Path  # a folder of your own stage files
    device: str  # auto, cpu, cuda or cuda:0
    threads: int  # CPU threads; 0: all cores
    profile: str  # of the memory budget: 8gb, 16gb, 24gb, cpu, fit, or one of yours
    profiles: str | Path  # your own rows for the profiles
    vram: float  # GiB of a GPU to plan for, which need not be there
    max_time: float  # seconds that all stages may take: the samples are thinned
    grow: bool  # with profile "fit": lattices as large as fit
    start_from: str | Path  # a checkpoint that the first stage grows from


@dataclass(frozen=True)
class RunResult:
    """How a run ended."""

    folder: Path
    exit_code: int  # as the command's; 0: completed
    summary: dict[str, Any]  # what summary.json says
    message: str | None  # what a person is told where it was not completed

    @property
    def stages(self) -> list[dict[str, Any]]:
        """A row a stage: status, metrics, dimensions, seconds, checkpoint and more."""
        rows: list[dict[str, Any]] = self.summary["stages"]
        return rows

    def load(self, stage: int | None = None) -> "TrainedModel":
        """What it has trained; see `cell_train.load`."""
        return load(self.folder, stage)


def plan(stages: str | None = None, **choices: Unpack[Choices]) -> Plan:
    """The stages as they would run here: sizes, memory, time, and whether they fit.

    `stages` is such as "3" or "1-5"; None: all. Nothing is trained, and torch is not imported.
    Raises ConfigError naming all that is wrong, BudgetError where `max_time` is too little.
    """
    loaded = request.load(_request(stages, choices))
    return request.make_plan(request.resolve_stages(loaded))


def run(
    stages: str | None = None,
    *,
    output: str | Path = "runs",
    name: str | None = None,
    timeout: float | None = None,
    on_event: Callable[[Event], None] = lambda _: None,
    **choices: Unpack[Choices],
) -> RunResult:
    """Train stages one after the other, each in a process of its own; how that ended.

    The run's folder is made in `output` and called after `name`. After `timeout` seconds it is
    stopped, with a checkpoint. `on_event` is given each event (docs/events.md). Raises
    CelltrainError where it cannot begin (ConfigError, BudgetError, DataError); a stage that fails
    is told by the result.
    """
    loaded = request.load(_request(stages, choices), trains=True)
    made = request.plan_that_fits(loaded, request.resolve_stages(loaded))
    resolved = made.resolved()
    execute.check_data(stage.stage for stage in resolved)
    record = plan_file.record(made, loaded.written, loaded.request.start_from) | {"require": []}
    files = folder.prepare(record, resolved, Path(output), name or _default_name(made))
    ended = execute.execute(files, on_event, timeout=timeout)
    return RunResult(files.folder, ended.exit_code, ended.summary, ended.message)


def load(
    run: str | Path, stage: int | None = None, *, output: str | Path = "runs"
) -> "TrainedModel":
    """What a run has trained, on the CPU.

    `run` is its folder, or the name of one in `output`: the newest. The best checkpoint of the
    latest completed stage is taken (or of `stage`), else its newest sound one, else that of a
    stage that is not complete. Raises ConfigError where there is no such run or stage,
    CheckpointError where it holds no checkpoint that will do.
    """
    from cell_train.training import trained_model  # torch comes with it

    return trained_model.load(_found(run, Path(output)), stage)


def _found(run: str | Path, parent: Path) -> Path:
    """The folder of a run that may be named. Raises ConfigError where there is none."""
    path = Path(run)
    for one in (path, parent / path):
        if one.is_dir():
            return one
    for files in folder.named(path.name, parent) if path.name == str(run) else ():
        return files.folder
    raise ConfigError(f"{run}: is no run folder, nor the name of a run in {parent}.")


def _request(stages: str | None, choices: Choices) -> Request:
    known = Choices.__annotations__
    if unknown := [name for name in choices if name not in known]:
        raise TypeError(f"there is no choice {unknown[0]!r}; there are {', '.join(known)}")
    told: dict[str, Any] = {**choices}
    for name in ("stages_dir", "profiles", "start_from"):
        if told.get(name) is not None:
            told[name] = Path(told[name])
    overrides = told.pop("overrides", {})
    words = tuple(f"{key}={_word(value)}" for key, value in overrides.items())
    return Request(stages=stages, overrides=words, **told)


def _word(value: Any) -> str:
    """A value as the command line takes it."""
    return value if isinstance(value, str) else json.dumps(value)


def _default_name(made: Plan) -> str:
    numbers = [stage.number for stage in made.stages]
    return f"stage-{numbers[0]}" if len(numbers) == 1 else f"stages-{numbers[0]}-{numbers[-1]}"
