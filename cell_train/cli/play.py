"""What was trained, alive: `play`."""

from pathlib import Path
from typing import Annotated

import typer

from cell_train.cli import options
from cell_train.errors import ConfigError


def play(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Its folder, or its --name.")],
    export: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Write the page there. [default: RUN/report]"),
    ] = None,
    stage: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Default: the last that is complete.")
    ] = None,
    output: options.Output = Path("runs"),
    open_page: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
) -> None:
    """Write a page in which a trained lattice lives.

    It runs the rule in the browser, turns, and is cut, painted and silenced with the mouse; where
    it was trained on text, sentences cross it. One file, which asks nothing of the network.

    \b
        celltrain play RUN --open
        celltrain play RUN --export page.html
    """
    if export and export.suffix != ".html":
        raise ConfigError(f"--export {export}: is written as HTML; end its name in .html.")
    import webbrowser

    from cell_train.play import page
    from cell_train.report.run_data import reading
    from cell_train.run_folder import folder
    from cell_train.training.trained_model import load  # torch comes with it

    files = folder.find(run, output)
    story = reading.read(files)
    trained = load(files.folder, stage)
    for why in trained.passed_over:
        typer.echo(f"{why}; {trained.checkpoint.name} is used", err=True)
    path = export or files.report / "play.html"
    page.write(path, story, trained.stage, trained.portable())
    typer.echo(
        f"{path.stat().st_size / 1000:.0f} kB, the lattice of stage {trained.stage}", err=True
    )
    typer.echo(path)
    if open_page and not webbrowser.open(path.absolute().as_uri()):
        typer.echo("no browser could be started; open the page yourself.", err=True)
