"""The command line. Commands import what they need when they run, so that --help is quick."""

from cell_train import plugins

plugins.forget_this_folder()  # before anything else can be imported from there

# ruff: noqa: E402
import os
import signal
import sys
from types import FrameType
from typing import Annotated

import typer

from cell_train import invocation, streams
from cell_train._version import __version__
from cell_train.cli import (
    ask,
    configuration,
    help,
    machine,
    plan,
    play,
    runs,
    train,
)
from cell_train.cli.begin import demo, own_task
from cell_train.errors import CelltrainError, ConfigError

COMMANDS = {  # heading -> commands, in the order --help lists them
    "Train": (train.run, plan.plan, train.resume, demo.demo, machine.calibrate),
    "Runs": (runs.ls, runs.watch, runs.compare, runs.report, ask.ask, play.play, runs.rm),
    "Configuration": (
        *(configuration.validate, configuration.show, configuration.why),
        *(configuration.init, configuration.schema, own_task.check),
    ),
    "Machine": (machine.doctor,),
}

app = typer.Typer(
    cls=help.Group,
    no_args_is_help=True,
    rich_markup_mode=None,  # rich would double the time of --help
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for heading, commands in COMMANDS.items():
    for command in map(help.documented, commands):
        listed = app.command(
            cls=help.Command, short_help=help.summary(command), rich_help_panel=heading
        )
        listed(command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"celltrain {__version__}")
        raise typer.Exit


@app.callback()
@help.documented
def top(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Train a 3D cellular lattice with local plasticity, in five stages.

    `celltrain run` trains on built-in sentences; `celltrain COMMAND --help` says the rest.
    """


def _tell(error: CelltrainError) -> None:
    """The sentence of an error, or each of its problems with the line it is in."""
    if isinstance(error, ConfigError) and error.problems:
        from cell_train.cli import config_errors

        config_errors.show(error.problems, sys.stderr)
    else:
        from cell_train.formatting import printable

        typer.echo(printable(str(error)), err=True)


def _name() -> str:
    """How usage and errors call the program; what completes words knows it by its name alone."""
    completes = any(name.endswith("_COMPLETE") for name in os.environ)
    if completes or {"--install-completion", "--show-completion"} & {*sys.argv}:
        return invocation.NAME
    return invocation.called()


def main() -> None:
    """Run the command line; an expected failure is its sentence and its exit code.

    The code says what became of the command, whatever became of the streams it was told on.
    """
    streams.secure()
    for number in STOPS:  # as the first process of a container one is not ended by them otherwise
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, _leave)
    code: int | str | None = 0
    try:
        app(prog_name=_name())
    except SystemExit as end:
        code = end.code
    except CelltrainError as error:
        _tell(error)
        code = error.exit_code
    streams.drain()
    why = streams.undelivered()
    if why is not None and not code:
        code = 1
        if not streams.reader_left(sys.stdout):  # who leaves, as `head` does, knows it
            typer.echo(f"standard output: {why.strerror}; what was said is not whole.", err=True)
            streams.drain()
    sys.exit(code)


STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _leave(number: int, _: FrameType | None) -> None:
    """Nothing runs that would have to be saved."""
    streams.hurry()
    sys.exit(128 + number)
