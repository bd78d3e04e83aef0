"""The machine: `doctor`."""

from pathlib import Path

import typer

from cell_train.cli.options import Json, Output


def doctor(output: Output = Path("runs"), json: Json = False) -> None:
    """Look over this machine and say what is wrong with its cure; exit 1 where no run can start."""
    from cell_train.run import doctor as examining
    from cell_train.run import listing, printing

    facts = examining.examine(output)
    if json:
        printing.print_json(facts)
    else:
        listing.print_examination(facts)
    raise typer.Exit(any(problem["prevents"] for problem in facts["problems"]))
