"""Training: `run` and `resume`."""

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cell_train.cli.options import (
    Device,
    Grow,
    Json,
    MaxTime,
    Output,
    Overrides,
    ProfileName,
    ProfilesFile,
    Progress,
    Quiet,
    Stages,
    StagesDir,
    StartFrom,
    Threads,
    Timeout,
    Verbose,
    Vram,
)
from cell_train.errors import EXIT_INTERRUPTED, EXIT_TERMINATED, EXIT_TIMEOUT, ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cell_train.config.schema import ResolvedStage
    from cell_train.planning.plan_file import Record
    from cell_train.run.runner import Outcome
    from cell_train.run_files import RunFiles

SMOKE = {  # one short epoch of stage 1, to see that a machine works
    "epochs": 1,
    "dataset_limit": 64,
    "lattice.dimensions": [16, 16, 16],
    "data.path": "builtin",
    "data.held_out": 16,
    "monitor.evaluate": 16,
}


def run(
    overrides: Overrides = None,
    stages: Stages = None,
    stages_dir: StagesDir = None,
    plan: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Run exactly what celltrain plan -o FILE wrote."),
    ] = None,
    start_from: StartFrom = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The same as seed=N.")] = None,
    name: Annotated[str | None, typer.Option(help="Name in the run folder's name.")] = None,
    output: Output = Path("runs"),
    device: Device = "auto",
    threads: Threads = 0,
    profile: ProfileName = None,
    profiles: ProfilesFile = None,
    vram: Vram = None,
    grow: Grow = False,
    max_time: MaxTime = None,
    require: Annotated[
        list[str] | None,
        typer.Option(metavar="'METRIC>=X'", help="Stop (exit 1) after a stage that misses this."),
    ] = None,
    timeout: Timeout = None,
    progress: Progress = "auto",
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="One short epoch at 16x16x16: does this machine work?")
    ] = False,
) -> None:
    """Train the stages, each grown from the one before."""
    from cell_train.planning import drift, plan_file, timing
    from cell_train.planning.request import Request, load, plan_that_fits, resolve_stages
    from cell_train.run import plan_text

    request = Request(
        stages=stages or ("1" if smoke else None),
        stages_dir=stages_dir,
        overrides=(*(overrides or ()), *((f"seed={seed}",) if seed is not None else ())),
        preset=SMOKE if smoke else None,
        device=device,
        threads=threads,
        profile=profile,
        profiles=profiles,
        vram=vram,
        max_time=timing.duration(max_time) if max_time is not None else None,
        grow=grow,
        start_from=start_from,
    )
    if plan is None:
        loaded = load(request, trains=True)
        made = plan_that_fits(loaded, resolve_stages(loaded))
        record, planned = plan_file.record(made, loaded.written, start_from), made.resolved()
        if verbose and not quiet:
            plan_text.print_plan(made, sys.stderr)
    elif request != Request():
        raise ConfigError(f"--plan {plan}: says all there is to plan; leave out what plans anew.")
    else:
        record, planned = drift.take_up(plan)
    record["require"] += require or []
    outcome = _train(
        record,
        planned,
        parent=output,
        name=name or ("smoke" if smoke else None),
        timeout=timeout,
        how="none" if quiet else progress,
        as_json=json,
        verbose=verbose and not quiet,
    )
    _report(outcome, json)


def resume(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="Its folder or name; default: the newest.")
    ] = None,
    output: Output = Path("runs"),
    accept_changes: Annotated[
        bool,
        typer.Option("--accept-changes", help="Go on although configuration or data changed."),
    ] = False,
    timeout: Timeout = None,
    progress: Progress = "auto",
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Go on with a run that was interrupted or failed; completed stages are kept."""
    from cell_train.run import folder

    files = folder.find(run, output)
    how = "none" if quiet else progress
    outcome = _execute(
        files, timeout, how, json, verbose and not quiet, accept_changes=accept_changes
    )
    _report(outcome, json)


def _train(
    record: "Record",
    stages: "Sequence[ResolvedStage]",
    *,
    parent: Path,
    name: str | None,
    timeout: float | None,
    how: str,
    as_json: bool,
    verbose: bool,
) -> "Outcome":
    """Make the run folder, after a look at all that could be wrong, and run the stages."""
    from cell_train.run import folder, gates, runner

    for text in record["require"]:
        gates.parse(text)
    notes = runner.check_data(stage.stage for stage in stages)
    if how != "none":
        for note in notes:
            typer.echo(f"Note: {note}.", err=True)
    numbers = [stage.stage.stage for stage in stages]
    default = f"stage-{numbers[0]}" if len(numbers) == 1 else f"stages-{numbers[0]}-{numbers[-1]}"
    files = folder.prepare(record, stages, parent, name or default)
    return _execute(files, timeout, how, as_json, verbose)


def _execute(
    files: "RunFiles",
    timeout: float | None,
    how: str,
    as_json: bool,
    verbose: bool,
    *,
    accept_changes: bool = False,
) -> "Outcome":
    """Run the stages, shown to a person on stderr or to a program on stdout."""
    from cell_train.events import Event
    from cell_train.run import folder, follow, printing, progress, runner

    stages = folder.read_plan(files)["stages"]
    with progress.showing(progress.mode(how, sys.stderr), stages, sys.stderr, verbose) as view:
        if verbose:
            view = follow.with_worker_logs(view, files, stages, anew=False)

        def show(event: Event) -> None:
            if as_json:
                printing.print_json(event)
            view(event)

        return runner.execute(files, show, timeout=timeout, accept_changes=accept_changes)


def _report(outcome: "Outcome", as_json: bool) -> None:
    from cell_train.run import printing, progress

    if outcome.exit_code in (EXIT_INTERRUPTED, EXIT_TERMINATED, EXIT_TIMEOUT):
        for number in (signal.SIGINT, signal.SIGTERM):  # a second one must not change the code
            signal.signal(number, signal.SIG_IGN)
    if as_json:
        printing.print_json(outcome.summary)
    else:
        printing.print_summary(outcome.summary)
    if outcome.message:
        typer.echo(progress.printable(outcome.message), err=True)
    raise typer.Exit(outcome.exit_code)
