"""The command line. Commands import what they need when they run, so that --help is quick."""

import os
import signal
import sys
from typing import Annotated

import typer

from cell_train import __version__
from cell_train.cli import configuration, machine, plan, runs, train, trained
from cell_train.errors import CelltrainError, ConfigError

COMMANDS = (  # in the order --help lists them
    *(train.run, plan.plan, machine.calibrate, train.resume),
    *(runs.ls, runs.watch, runs.compare, runs.report, runs.rm),
    trained.ask,
    *(configuration.validate, configuration.show, configuration.why),
    *(configuration.init, configuration.schema),
    machine.doctor,
)

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,  # rich would double the time of --help
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in COMMANDS:
    app.command()(command)


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


def _tell(error: CelltrainError) -> None:
    """The sentence of an error, or each of its problems with the line it is in."""
    if isinstance(error, ConfigError) and error.problems:
        from cell_train.cli import problems

        problems.show(error.problems, sys.stderr)
    else:
        from cell_train.run.progress import printable

        typer.echo(printable(str(error)), err=True)


def main() -> None:
    """Run the command line; an expected failure is its sentence and its exit code."""
    signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
    try:
        app(prog_name="celltrain")
    except CelltrainError as error:
        _tell(error)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader of a pipe has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
