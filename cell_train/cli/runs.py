"""Runs that are there: `ls`, `watch`, `compare`, `report` and `rm`."""

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from cell_train import invocation, streams
from cell_train.cli import options
from cell_train.errors import CelltrainError, ConfigError


def ls(output: options.Output = Path("runs"), json: options.Json = False) -> None:
    """List runs, newest first.

    Each with its status, the stage it reached, its best score, its size on disk and its age.
    """
    from cell_train.console import output as printing
    from cell_train.console import tables
    from cell_train.run_folder import catalog, folder

    runs = []
    for files in folder.all_runs(output, options.note):
        try:
            runs.append(catalog.overview(files))
        except CelltrainError as error:  # the others are to be seen all the same
            typer.echo(error, err=True)
        for path in folder.temporary(files) if not folder.running(files) else ():
            options.note(f"{path}: was left by a process that was killed; resume or rm removes it.")
    for files in folder.unborn(output):
        options.note(
            f"{files.folder}: was left by a run that was killed as it began, or by an rm;"
            f" {invocation.command('rm', files.folder.name)} removes it."
        )
    if json:
        printing.print_json({"runs": runs})
    elif runs:
        tables.print_runs(runs)
    else:
        start = invocation.command("run")
        typer.echo(f"{output}: holds no runs; start one with {start}.", err=True)


def watch(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN]", help="Its folder, or its --name. [default: the newest running]"
        ),
    ] = None,
    output: options.Output = Path("runs"),
    progress: options.Progress = "auto",
    verbose: options.Verbose = False,
) -> None:
    """Look on at a run started elsewhere.

    Ctrl-C leaves the run alone. Ends with the run's exit code.
    """
    from cell_train.console import output as printing
    from cell_train.console import view as showing
    from cell_train.formatting import printable
    from cell_train.run_folder import folder, tail
    from cell_train.runner import watch as watching

    streams.kept_elsewhere()
    files = (
        folder.find(run, output, options.note)
        if run
        else watching.newest_running(output, options.note)
    )
    stages = folder.read_plan(files)["stages"]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with showing.showing(
            showing.mode(progress, sys.stderr), stages, sys.stderr, verbose, files.folder.name
        ) as view:
            if verbose:
                view = tail.with_worker_logs(view, files, stages, anew=True)
            outcome = watching.watch(files, view)
    except KeyboardInterrupt:
        typer.echo(f"Left alone: {files.folder}", err=True)
        return
    printing.print_summary(outcome.summary)
    if outcome.message:
        typer.echo(printable(outcome.message), err=True)
    raise typer.Exit(outcome.exit_code)


def compare(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN RUN...", help="Folders, or their --name.")
    ],
    output: options.Output = Path("runs"),
    json: options.Json = False,
) -> None:
    """Show where runs differ, and their metrics side by side.

    \b
        celltrain compare RUN1 RUN2
    """
    from cell_train.console import output as printing
    from cell_train.console import tables
    from cell_train.run_folder import compare as comparing
    from cell_train.run_folder import folder

    if len(runs) < 2:
        known = f"{invocation.command('ls')} lists them"
        raise ConfigError(f"compare {runs[0]}: takes two runs or more; {known}.")
    found = comparing.compare([folder.find(run, output, options.note) for run in runs])
    if json:
        printing.print_json(found)
    else:
        tables.print_comparison(found)


def rm(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Folders, or their --name.")],
    output: options.Output = Path("runs"),
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete runs, after asking.

    What will go is listed first. A run is told from other folders by the run.json it holds.
    """
    from cell_train.formatting import gib, printable
    from cell_train.run_folder import catalog

    found = {files.folder: files for files in (catalog.find(run, output) for run in runs)}
    for path, files in found.items():
        typer.echo(printable(f"{gib(catalog.size(path))}  {path}"), err=True)
        for name in catalog.foreign(files):
            typer.echo(printable(f"  with {name}, which is not of the run"), err=True)
    if not yes:
        if not sys.stdin.isatty():
            raise ConfigError("rm: nobody is there to be asked; add --yes to delete these runs.")
        if not typer.confirm("Delete for good?", err=True):
            raise typer.Exit(1)
    for files in found.values():
        catalog.delete(files)


def report(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Its folder, or its --name.")],
    output: options.Output = Path("runs"),
    open_page: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
) -> None:
    """Write the story of a run as one page, to read and to send.

    The page is RUN/report/index.html, its figures lie beside it as SVG. It asks nothing of the
    network, and can be written while the run goes on.

    \b
        celltrain report RUN --open
    """
    import webbrowser

    from cell_train.report import page
    from cell_train.run_folder import folder

    path, figures = page.write(folder.find(run, output, options.note))
    typer.echo(f"{path.stat().st_size / 1000:.0f} kB, {figures} figures beside it", err=True)
    typer.echo(path)
    if open_page and not webbrowser.open(path.as_uri()):
        typer.echo("no browser could be started; open the page yourself.", err=True)
