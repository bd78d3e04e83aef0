"""The machine: `calibrate`, `doctor`."""

from pathlib import Path

import typer

from cell_train.cli import options


def calibrate(device: options.Device = "auto", json: options.Json = False) -> None:
    """Measure this machine, so that plans know it better.

    Trains two short stages, in about a minute; plan and run count with what was measured.
    """
    from cell_train.console import output as printing
    from cell_train.diagnostics import calibrate as calibrating
    from cell_train.workers import supervisor

    with supervisor.interruptible() as interruption:
        try:
            found = calibrating.measure(
                device, interruption, lambda how: typer.echo(f"measuring {how}", err=True)
            )
        except Exception:
            if interruption.signal is None:
                raise
            raise typer.Exit(128 + interruption.signal) from None
    if json:
        printing.print_json(found)
    else:
        printing.print_calibration(found)


def doctor(output: options.Output = Path("runs"), json: options.Json = False) -> None:
    """Look over this machine: what is wrong with it, and the cure.

    Exit 1: no run can start here.
    """
    from cell_train.console import output as printing
    from cell_train.console import tables
    from cell_train.diagnostics import doctor as examining

    facts = examining.examine(output)
    if json:
        printing.print_json(facts)
    else:
        tables.print_examination(facts)
    raise typer.Exit(any(problem["prevents"] for problem in facts["problems"]))
