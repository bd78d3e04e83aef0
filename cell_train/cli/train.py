"""Training: `run` and `resume`."""

import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from cell_train import streams
from cell_train.cli import options
from cell_train.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cell_train.config.schema import ResolvedStage
    from cell_train.planning.plan_file import Record
    from cell_train.planning.request import Request
    from cell_train.run_folder.paths import RunFiles

SMOKE = {  # one short epoch of stage 1, to see that a machine works
    "epochs": 1,
    "dataset_limit": 64,
    "lattice.dimensions": [16, 16, 16],
    "data.path": "builtin",
    "data.held_out": 16,
    "monitor.evaluate": 16,
}


def run(
    overrides: options.Overrides = None,
    stages: options.Stages = None,
    stages_dir: options.StagesDir = None,
    plan: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Run exactly what celltrain plan -o FILE wrote."),
    ] = None,
    start_from: options.StartFrom = None,
    seed: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="The same as seed=N.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="The end of the run folder's name.")
    ] = None,
    output: options.Output = Path("runs"),
    device: options.Device = "auto",
    threads: options.Threads = 0,
    profile: options.ProfileName = None,
    profiles: options.ProfilesFile = None,
    vram: options.Vram = None,
    grow: options.Grow = False,
    max_time: options.MaxTime = None,
    require: Annotated[
        list[str] | None,
        typer.Option(metavar="'METRIC>=X'", help="Stop (exit 1) after a stage that misses this."),
    ] = None,
    timeout: options.Timeout = None,
    progress: options.Progress = "auto",
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="One short epoch at 16x16x16: does this machine work?")
    ] = False,
) -> None:
    """Train the stages, each grown from the one before.

    Any key of a stage can be overridden by `key=value`; docs/keys.md and `celltrain why KEY` say
    what it means.

    \b
        celltrain run --stages 1-3
        celltrain run data.path=my.txt --name mine
        celltrain run --json --require 'bleu>=0.3' --timeout 3600 > events.ndjson
    """
    options.check_seconds(timeout)
    request = options.request(
        stages=stages or ("1" if smoke else None),
        stages_dir=stages_dir,
        overrides=[*(overrides or ()), *([f"seed={seed}"] if seed is not None else ())],
        preset=SMOKE if smoke else None,
        device=device,
        threads=threads,
        profile=profile,
        profiles=profiles,
        vram=vram,
        max_time=max_time,
        grow=grow,
        start_from=start_from,
    )
    how = _How(timeout, "none" if quiet else progress, json, verbose and not quiet)
    record, planned = _plan(request, how) if plan is None else _saved_plan(plan, request)
    record["require"] += require or []
    record["asked"] = sys.argv[2:]  # for a hint how to do the same once more
    _run(_folder(record, planned, output, name or ("smoke" if smoke else None), how), how)


def resume(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN]", help="Its folder, or its --name. [default: the newest unfinished]"
        ),
    ] = None,
    moved: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[data.path=FILE]...", help="Where files of data are that have been moved."
        ),
    ] = None,
    output: options.Output = Path("runs"),
    accept_changes: Annotated[
        bool,
        typer.Option("--accept-changes", help="Go on although configuration or data changed."),
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="CPU threads from now on; 0: all cores."),
    ] = None,
    timeout: options.Timeout = None,
    progress: options.Progress = "auto",
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Go on with a run that was interrupted or failed.

    What is complete is kept. On the same device the result is that of a run never interrupted.
    """
    from cell_train.run_folder import folder, inputs

    options.check_seconds(timeout)
    words = list(moved or ())
    if run is not None and run.startswith(tuple(f"{key}=" for key in inputs.MOVABLE)):
        words, run = [run, *words], None
    places = inputs.moved(words)
    how = _How(timeout, "none" if quiet else progress, json, verbose and not quiet)
    files = folder.find(run, output, options.note)
    _run(files, how, accept_changes=accept_changes, moved=places, threads=threads)


@dataclass(frozen=True)
class _How:
    """How a run is watched: for how long, on what display, for a program, with every reason."""

    timeout: float | None
    progress: str
    as_json: bool
    verbose: bool


def _plan(request: "Request", how: _How) -> "tuple[Record, list[ResolvedStage]]":
    from cell_train.console import plan_table
    from cell_train.hardware import torch_build
    from cell_train.planning import plan_file
    from cell_train.planning.request import load, plan_that_fits, resolve_stages

    loaded = load(request, trains=True)
    torch_build.require(loaded.budget, torch_build.find())
    if loaded.budget.failure and how.progress != "none":
        typer.echo(f"Note: {loaded.budget.failure}; the CPU is taken.", err=True)
    made = plan_that_fits(loaded, resolve_stages(loaded))
    record = plan_file.record(made, loaded.written, request.start_from)
    if how.verbose:
        plan_table.print_plan(made, sys.stderr)
    return record, made.resolved()


def _saved_plan(plan: Path, request: "Request") -> "tuple[Record, list[ResolvedStage]]":
    """What a plan file says, which leaves nothing to be requested."""
    from cell_train.planning import staleness

    if request != options.request():
        raise ConfigError(f"--plan {plan}: says all there is to plan; leave out what plans anew.")
    return staleness.load_current(plan)


def _folder(
    record: "Record",
    stages: "Sequence[ResolvedStage]",
    parent: Path,
    name: str | None,
    how: _How,
) -> "RunFiles":
    """Make the run folder, after a look at all that could be wrong."""
    from cell_train.run_folder import folder
    from cell_train.runner import execute, gates

    for requirement in map(gates.parse, record["require"]):
        for one in stages:
            gates.check_known(requirement, one.stage)
    notes = execute.check_data(stage.stage for stage in stages)
    if how.progress != "none":
        for note in notes:
            typer.echo(f"Note: {note}.", err=True)
    numbers = [stage.number for stage in stages]
    default = f"stage-{numbers[0]}" if len(numbers) == 1 else f"stages-{numbers[0]}-{numbers[-1]}"
    return folder.prepare(record, stages, parent, name or default)


def trained(
    request: "Request", output: Path, name: str, progress: str, quiet: bool
) -> "tuple[RunFiles, int]":
    """Plan and run; the run's folder, and the exit code it deserves."""
    how = _How(None, "none" if quiet else progress, False, False)
    files = _folder(*_plan(request, how), output, name, how)
    return files, _ran(files, how)


def _run(
    files: "RunFiles",
    how: _How,
    *,
    accept_changes: bool = False,
    moved: "Mapping[str, str] | None" = None,
    threads: int | None = None,
) -> NoReturn:
    """Run the stages of a run folder and exit with the code they deserve."""
    code = _ran(files, how, accept_changes=accept_changes, moved=moved, threads=threads)
    raise typer.Exit(code)


def _ran(
    files: "RunFiles",
    how: _How,
    *,
    accept_changes: bool = False,
    moved: "Mapping[str, str] | None" = None,
    threads: int | None = None,
) -> int:
    """Run the stages of a run folder; the exit code.

    A person is shown them on stderr, a program on stdout.
    """
    from cell_train.console import output as printing
    from cell_train.console import view as progress
    from cell_train.events import Event
    from cell_train.formatting import printable
    from cell_train.run_folder import folder, tail
    from cell_train.runner import execute
    from cell_train.workers import supervisor

    streams.kept_elsewhere()
    stages, mode = folder.read_plan(files)["stages"], progress.mode(how.progress, sys.stderr)
    left = False  # by who read --json
    with progress.showing(mode, stages, sys.stderr, how.verbose, files.folder.name) as view:
        if how.verbose:
            view = tail.with_worker_logs(view, files, stages, anew=False)

        def show(event: Event) -> None:
            nonlocal left
            if how.as_json:
                printing.print_json(event)
                if not left and streams.reader_left(sys.stdout):
                    left = True
                    signal.raise_signal(signal.SIGTERM)  # for nobody there is nothing to train
            view(event)

        outcome = execute.execute(
            files,
            show,
            timeout=how.timeout,
            accept_changes=accept_changes,
            moved=moved,
            threads=threads,
        )
    for number in supervisor.STOPS:  # the run has ended: a signal must not change its code
        signal.signal(number, lambda *_: sys.exit(outcome.exit_code))
    if how.as_json:
        printing.print_json(outcome.summary)
    else:
        printing.print_summary(outcome.summary)
    if left:
        typer.echo("Nobody reads the events on standard output any more.", err=True)
    if outcome.message:
        typer.echo(printable(outcome.message), err=True)
    return outcome.exit_code
