"""Runs that are there: `report`."""

from pathlib import Path
from typing import Annotated

import typer

from cell_train.cli.options import Output


def report(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Its folder or name.")],
    output: Output = Path("runs"),
    open_page: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
) -> None:
    """Write a run's story as one page, RUN/report/index.html, its figures beside it as SVG."""
    import webbrowser

    from cell_train.report import page
    from cell_train.run import folder

    path, figures = page.write(folder.find(run, output))
    typer.echo(f"{path.stat().st_size / 1000:.0f} kB, {figures} figures beside it", err=True)
    typer.echo(path)
    if open_page and not webbrowser.open(path.as_uri()):
        typer.echo("no browser could be started; open the page yourself.", err=True)
