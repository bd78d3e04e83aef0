"""What was trained, used: `ask`."""

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cell_train import streams
from cell_train.cli import options
from cell_train.errors import ConfigError

if TYPE_CHECKING:
    from cell_train.run_folder.paths import RunFiles
    from cell_train.training.trained_model import Answer, TrainedModel

MAX_LINE = 1 << 20  # bytes of a line that are read
NAMED = 10  # unknown words of a text that are named
TOGETHER = 64  # lines answered at once


def ask(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Its folder, or its --name.")],
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT]...", help="What to send through.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Texts, one a line; - is standard input.")
    ] = None,
    stage: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Default: the last that is complete.")
    ] = None,
    animate: Annotated[
        bool, typer.Option("--animate", help="Show the text crossing the lattice.")
    ] = False,
    animation: Annotated[
        Path | None, typer.Option(metavar="FILE.svg", help="Write that as a picture that moves.")
    ] = None,
    output: options.Output = Path("runs"),
    json: options.Json = False,
) -> None:
    """Send texts through a trained lattice; print what comes back.

    A line each on stdout; the cosine and words it does not know on stderr.

    \b
        celltrain ask RUN "the young teacher sings" --animate
        celltrain ask RUN --file in.txt > out.txt
    """
    if bool(texts) == (file is not None):
        raise ConfigError("ask: give texts or --file FILE (- is standard input), one of the two.")
    if (animate or animation) and len(texts or ()) != 1:
        raise ConfigError("ask: --animate and --animation take one text.")
    if animation and animation.suffix != ".svg":
        raise ConfigError(f"--animation {animation}: is written as SVG; end its name in .svg.")
    from cell_train.run_folder import folder

    files = folder.find(run, output, options.note)
    folder.check_plain(files)
    source = _lines(file) if file else (_utf8(text) for text in texts or ())
    together = list(islice(source, TOGETHER))
    trained = _load(files, stage)
    number = 0
    while together and streams.lost(sys.stdout) is None:
        for answer in trained.ask(together):
            number += 1
            if animate or animation:
                _draw(trained, answer, animate, animation)
            _print(answer, f"{file}:{number}: " if file else "", json)
        together = list(islice(source, TOGETHER))


def _lines(file: Path) -> Iterator[str]:
    """The lines of a file, or of standard input, each read no further than any stage would."""
    try:
        with nullcontext(sys.stdin.buffer) if str(file) == "-" else file.open("rb") as stream:
            while raw := stream.readline(MAX_LINE):
                rest = raw
                while rest and not rest.endswith(b"\n"):
                    rest = stream.readline(MAX_LINE)
                yield raw.decode(errors="replace").rstrip("\r\n")
    except OSError as error:
        raise ConfigError(f"--file {file}: cannot be read ({error.strerror}).") from error


def _load(files: "RunFiles", stage: int | None) -> "TrainedModel":
    from cell_train.training.trained_model import load  # torch comes with it

    trained = load(files.folder, stage)
    for why in trained.passed_over:
        typer.echo(f"{why}; {trained.checkpoint.name} is used", err=True)
    return trained


def _draw(trained: "TrainedModel", answer: "Answer", animate: bool, path: Path | None) -> None:
    """Show a text on its way through the lattice, on the terminal and in a file."""
    from cell_train.console import animation, view
    from cell_train.storage import write_text

    frames = trained.side_view(answer.text)
    if animate and view.mode("auto", sys.stderr) == "live":
        animation.play(frames, sys.stderr)
    elif animate:
        typer.echo("--animate needs a terminal; --animation FILE.svg needs none", err=True)
    if path:
        picture = animation.svg(frames, [f"> {answer.text}", f"< {answer.output}"])
        try:
            write_text(path, picture)
        except OSError as error:
            raise ConfigError(f"--animation {path}: not written ({error.strerror}).") from error


def _print(answer: "Answer", where: str, json: bool) -> None:
    """The answer on stdout, what there is to know about it on stderr."""
    if json:
        from cell_train.console import output as printing

        printing.print_json(asdict(answer))
        return
    typer.echo(_visible(answer.output))
    remarks = []
    if answer.cosine is not None and not where:
        remarks.append(f"cosine {answer.cosine:.3f}")
    if answer.unknown:
        named = ", ".join(_visible(word)[:40] for word in answer.unknown[:NAMED])
        more = len(answer.unknown) - NAMED
        remarks.append(f"not in the vocabulary: {named}" + (f" and {more} more" * (more > 0)))
    if answer.cut:
        remarks.append(f"too long, its last {answer.cut} words were not read")
    if remarks:
        typer.echo(where + "; ".join(remarks), err=True)


def _utf8(text: str) -> str:
    """A word of the command line, its bytes that are no UTF-8 replaced."""
    return text.encode(errors="replace").decode()


def _visible(text: str) -> str:
    """Text that does nothing to the terminal it is printed on, and stays on its line."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
