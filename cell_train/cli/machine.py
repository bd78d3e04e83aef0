"""The machine: `calibrate`."""

import typer

from cell_train.cli.options import Device, Json


def calibrate(device: Device = "auto", json: Json = False) -> None:
    """Measure this machine, for plans that know its memory and its speed; under a minute."""
    from cell_train.run import attend, report
    from cell_train.run import calibrate as calibrating

    with attend.interruptible() as interruption:
        try:
            found = calibrating.measure(device, interruption)
        except Exception:
            if interruption.signal is None:
                raise
            raise typer.Exit(128 + interruption.signal) from None
    if json:
        report.print_json(found)
    else:
        report.print_calibration(found)
