"""The command line. Modules are imported inside commands, so that --help is quick."""

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cell_train import __version__
from cell_train.errors import (
    EXIT_INTERRUPTED,
    EXIT_TERMINATED,
    EXIT_TIMEOUT,
    CelltrainError,
    ConfigError,
)

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

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,  # rich would double the time of --help
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Override keys of all selected stages."),
]
Stages = Annotated[
    str | None,
    typer.Option(metavar="WHICH", help="Such as 3, 1-5, 1,3-4, 3- or -2. [default: all]"),
]
StagesDir = Annotated[Path | None, typer.Option(metavar="DIR", help="Your own stage files.")]
Device = Annotated[str, typer.Option(metavar="DEVICE", help="auto, cpu, cuda or cuda:0.")]
Threads = Annotated[int, typer.Option(min=0, help="CPU threads; 0: all cores.")]
ProfileName = Annotated[
    str | None,
    typer.Option("--profile", metavar="NAME", help="8gb, 16gb, 24gb, cpu, fit, or one of yours."),
]
ProfilesFile = Annotated[
    Path | None, typer.Option("--profiles", metavar="FILE", help="Your own rows for the profiles.")
]
Vram = Annotated[
    float | None,
    typer.Option(metavar="GIB", help="Plan for a GPU of so many GiB, whether it is there or not."),
]
Output = Annotated[Path, typer.Option(metavar="DIR", help="The folder that holds run folders.")]
Timeout = Annotated[
    float | None, typer.Option(min=0.001, metavar="SECONDS", help="Stop after so long (exit 124).")
]
Progress = Annotated[
    Literal["auto", "live", "plain", "none"], typer.Option(help="How to show what goes on.")
]
Json = Annotated[bool, typer.Option("--json", help="Data for programs on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing while running.")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"celltrain {__version__}")
        raise typer.Exit


@app.callback()
def top(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Train a 3D cellular lattice with local plasticity, in five stages."""


@app.command()
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
    )
    _report(outcome, json)


@app.command()
def plan(
    overrides: Overrides = None,
    stages: Stages = None,
    stages_dir: StagesDir = None,
    vram: Vram = None,
    device: Device = "auto",
    threads: Threads = 0,
    profile: ProfileName = None,
    profiles: ProfilesFile = None,
    json: Json = False,
) -> None:
    """Say what each stage would be granted, and whether it fits, before anything runs."""
    from cell_train.planning import plan as planning
    from cell_train.planning.request import Request, load, make_plan, resolve_stages
    from cell_train.run import report

    request = Request(
        stages=stages,
        stages_dir=stages_dir,
        overrides=tuple(overrides or ()),
        device=device,
        threads=threads,
        profile=profile,
        profiles=profiles,
        vram=vram,
    )
    loaded = load(request)
    made = make_plan(resolve_stages(loaded))
    if json:
        report.print_json(planning.as_json(made))
    else:
        report.print_plan(made)
    planning.require_fit(made, loaded.plan_for)


@app.command()
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
) -> None:
    """Go on with a run that was interrupted or failed; completed stages are kept."""
    from cell_train.run import folder

    files = folder.find(run, output)
    outcome = _execute(
        files, timeout, "none" if quiet else progress, json, accept_changes=accept_changes
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
) -> "Outcome":
    """Make the run folder, after a look at all that could be wrong, and run the stages."""
    from cell_train.run import folder, gates, runner

    for text in require:
        gates.parse(text)
    if start_from is not None and not start_from.is_file():
        raise ConfigError(f"--from {start_from}: is no checkpoint file.")
    runner.check_data(plan)
    numbers = [stage.stage.stage for stage in plan.stages]
    default = f"stage-{numbers[0]}" if len(numbers) == 1 else f"stages-{numbers[0]}-{numbers[-1]}"
    start = start_from.absolute() if start_from else None
    files = folder.prepare(
        plan, parent, name or default, start_from=start, require=require, written=written
    )
    return _execute(files, timeout, how, as_json)


def _execute(
    files: "RunFiles",
    timeout: float | None,
    how: str,
    as_json: bool,
    *,
    accept_changes: bool = False,
) -> "Outcome":
    """Run the stages, shown to a person on stderr or to a program on stdout."""
    from cell_train.events import Event
    from cell_train.run import folder, progress, report, runner

    stages = folder.read_plan(files)["stages"]
    with progress.showing(progress.mode(how, sys.stderr), stages, sys.stderr) as view:

        def show(event: Event) -> None:
            if as_json:
                report.print_json(event)
            view(event)

        return runner.execute(files, show, timeout=timeout, accept_changes=accept_changes)


def _report(outcome: "Outcome", as_json: bool) -> None:
    from cell_train.run import report

    if outcome.exit_code in (EXIT_INTERRUPTED, EXIT_TERMINATED, EXIT_TIMEOUT):
        for number in (signal.SIGINT, signal.SIGTERM):  # a second one must not change the code
            signal.signal(number, signal.SIG_IGN)
    if as_json:
        report.print_json(outcome.summary)
    else:
        report.print_summary(outcome.summary)
    if outcome.message:
        typer.echo(outcome.message, err=True)
    raise typer.Exit(outcome.exit_code)


def main() -> None:
    """Run the command line; an expected failure is its sentence and its exit code."""
    signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
    try:
        app(prog_name="celltrain")
    except CelltrainError as error:
        typer.echo(error, err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader of a pipe has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
