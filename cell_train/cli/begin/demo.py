"""A few minutes that show what a lattice does: `demo`."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Literal

import typer

from cell_train.cli import options, train
from cell_train.errors import ConfigError

if TYPE_CHECKING:
    from cell_train.run_folder.paths import RunFiles
    from cell_train.training.inspection.grown import Moment


def demo(
    what: Annotated[Literal["grow"], typer.Argument(metavar="grow", help="The demonstration.")],
    overrides: options.Overrides = None,
    of: Annotated[
        str | None,
        typer.Option("--of", metavar="RUN", help="Draw what this run has grown; train nothing."),
    ] = None,
    output: options.Output = Path("runs"),
    threads: options.Threads = 0,
    progress: options.Progress = "auto",
    quiet: options.Quiet = False,
) -> None:
    """From one cell grow a shape, cut it in half, see it grow again.

    Trains for minutes on two cores, then writes grown.svg, which moves, a PNG of each act, and
    play.html, in which it lives and is yours to cut, into the run's folder demo.

    \b
        celltrain demo grow
        celltrain demo grow grow.target=tree
    """
    from cell_train.run_folder import folder

    if of is not None:
        if overrides:
            raise ConfigError("--of draws a run as it is; leave key=value out.")
        _draw(folder.find(of, output))
        return
    request = options.request(
        stages_dir=Path(str(folder.__file__)).parents[1] / "config" / "demos" / what,
        overrides=overrides or (),
        threads=threads,
    )
    files, code = train.trained(request, output, f"demo-{what}", progress, quiet)
    if code == 0:
        _draw(files)
    raise typer.Exit(code)


def _draw(files: "RunFiles") -> None:
    from cell_train.play import page
    from cell_train.report.figures import voxels
    from cell_train.report.run_data import reading
    from cell_train.storage import write_atomically, write_text
    from cell_train.training import trained_model
    from cell_train.training.inspection import grown

    trained = trained_model.load(files.folder)
    moments = list(grown.story(trained))
    place = files.folder / "demo"
    frames = [voxels.Frame(one.voxels, _label(one), _hold(one, moments)) for one in moments]
    following = [*moments[1:], None]
    ends = [one for one, after in zip(moments, following, strict=True) if _ends(one, after)]
    try:
        place.mkdir(exist_ok=True)
        write_text(place / "grown.svg", voxels.film(frames))
        for number, one in enumerate([moments[0], *ends], 1):
            picture = voxels.png(voxels.draw(one.voxels))
            name = f"{number}-{one.act.replace(' ', '-')}-{one.tick}.png"
            write_atomically(place / name, partial(_put, picture))
    except OSError as error:
        raise ConfigError(f"{place}: cannot be written ({error.strerror}).") from None
    alive = place / "play.html"
    page.write(alive, reading.read(files), trained.stage, trained.portable())
    grew, cut, again = ends
    typer.echo(
        f"IoU with the shape: grown {grew.overlap:.3f} after {grew.tick} ticks; cut in half"
        f" {cut.overlap:.3f}; grown again {again.overlap:.3f} after {again.tick} ticks"
    )
    typer.echo(f"{place / 'grown.svg'}")
    typer.echo(f"{alive}")


def _put(data: bytes, stream: BinaryIO) -> None:
    stream.write(data)


def _ends(one: "Moment", after: "Moment | None") -> bool:
    return after is None or after.act != one.act


def _hold(one: "Moment", moments: "list[Moment]") -> int:
    """Frames that end an act are seen longer."""
    at = next(index for index, other in enumerate(moments) if other is one)
    return 6 if _ends(one, moments[at + 1] if at + 1 < len(moments) else None) else 1


def _label(one: "Moment") -> str:
    tick = f", tick {one.tick}" if one.act != "cut" else ""
    return f"{one.act}{tick}: IoU {one.overlap:.3f}"
