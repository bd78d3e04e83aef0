"""Training: `run` and `resume`."""

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cell_train.cli.options import (
    Device,
    Json,
    Output,
    Overrides,
    ProfileName,
    ProfilesFile,
    Progress,
    Quiet,
    Stages,
    StagesDir,
    Threads,
    Timeout,
    Verbose,
    Vram,
)
from cell_train.errors import EXIT_INTERRUPTED, EXIT_TERMINATED, EXIT_TIMEOUT, ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cell_train.config.stage_file import StageFile
    from cell_train.planning.plan import Plan
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
    start_from: Annotated[
        Path | None,
        typer.Option("--from", metavar="CHECKPOINT", help="The first stage grows from this."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The same as seed=N.")] = None,
    name: Annotated[str | None, typer.Option(help="Name in the run folder's name.")] = None,
    output: Output = Path("runs"),
    device: Device = "auto",
    threads: Threads = 0,
    profile: ProfileName = None,
    profiles: ProfilesFile = None,
    vram: Vram = None,
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
    from cell_train.planning.request import Request, load, plan_that_fits, resolve_stages

    words = [*(overrides or ()), *([f"seed={seed}"] if seed is not None else ())]
    request = Request(
        stages=stages or ("1" if smoke else None),
        stages_dir=stages_dir,
        overrides=tuple(words),
        preset=SMOKE if smoke else None,
        device=device,
        threads=threads,
        profile=profile,
        profiles=profiles,
        vram=vram,
    )
    loaded = load(request, trains=True)
    resolved = resolve_stages(loaded)
    plan = plan_that_fits(loaded, resolved)
    outcome = _train(
        plan,
        written={file.number: file for file in loaded.files},
        parent=output,
        name=name or ("smoke" if smoke else None),
        start_from=start_from,
        require=require or [],
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
    plan: "Plan",
    *,
    written: "Mapping[int, StageFile]",
    parent: Path,
    name: str | None,
    start_from: Path | None,
    require: list[str],
    timeout: float | None,
    how: str,
    as_json: bool,
    verbose: bool,
) -> "Outcome":
    """Make the run folder, after a look at all that could be wrong, and run the stages."""
    from cell_train.run import folder, gates, report, runner

    for text in require:
        gates.parse(text)
    if start_from is not None and not start_from.is_file():
        raise ConfigError(f"--from {start_from}: is no checkpoint file.")
    runner.check_data(plan)
    if verbose:
        report.print_plan(plan, sys.stderr)
    numbers = [stage.stage.stage for stage in plan.stages]
    default = f"stage-{numbers[0]}" if len(numbers) == 1 else f"stages-{numbers[0]}-{numbers[-1]}"
    start = start_from.absolute() if start_from else None
    files = folder.prepare(
        plan, parent, name or default, start_from=start, require=require, written=written
    )
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
    from cell_train.run import folder, follow, progress, report, runner

    stages = folder.read_plan(files)["stages"]
    with progress.showing(progress.mode(how, sys.stderr), stages, sys.stderr, verbose) as view:
        if verbose:
            view = follow.with_worker_logs(view, files, stages, anew=False)

        def show(event: Event) -> None:
            if as_json:
                report.print_json(event)
            view(event)

        return runner.execute(files, show, timeout=timeout, accept_changes=accept_changes)


def _report(outcome: "Outcome", as_json: bool) -> None:
    from cell_train.run import progress, report

    if outcome.exit_code in (EXIT_INTERRUPTED, EXIT_TERMINATED, EXIT_TIMEOUT):
        for number in (signal.SIGINT, signal.SIGTERM):  # a second one must not change the code
            signal.signal(number, signal.SIG_IGN)
    if as_json:
        report.print_json(outcome.summary)
    else:
        report.print_summary(outcome.summary)
    if outcome.message:
        typer.echo(progress.printable(outcome.message), err=True)
    raise typer.Exit(outcome.exit_code)
