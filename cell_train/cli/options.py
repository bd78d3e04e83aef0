"""Options that several commands share, and what they ask for."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cell_train.cli import complete
from cell_train.errors import ConfigError
from cell_train.formatting import printable

if TYPE_CHECKING:
    from cell_train.planning.request import Request

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...",
        help="Override keys of all selected stages.",
        autocompletion=complete.overrides,
    ),
]
Stages = Annotated[
    str | None,
    typer.Option(
        metavar="WHICH",
        help="Such as 3, 1-5, 1,3-4, 3- or -2. [default: all]",
        autocompletion=complete.stages,
    ),
]
StagesDir = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Your own stage files, or a recipe."),
]
Device = Annotated[str, typer.Option(metavar="DEVICE", help="auto, cpu, cuda or cuda:0.")]
Threads = Annotated[
    int, typer.Option(min=0, max=1024, metavar="N", help="CPU threads; 0: all cores.")
]
ProfileName = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="NAME",
        help="8gb, 16gb, 24gb, cpu, fit, or one of yours.",
        autocompletion=complete.memory_profiles,
    ),
]
ProfilesFile = Annotated[
    Path | None, typer.Option("--profiles", metavar="FILE", help="Your own rows for the profiles.")
]
Vram = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="Plan for a GPU of so much memory: 12, 12gb or 24GiB."),
]
StartFrom = Annotated[
    Path | None,
    typer.Option("--from", metavar="CHECKPOINT", help="The first stage grows from this."),
]
Grow = Annotated[bool, typer.Option("--grow", help="With --profile fit: lattices as large as fit.")]
MaxTime = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Thin the samples so that all stages take so long: 2h, 30m."),
]
Output = Annotated[Path, typer.Option(metavar="DIR", help="The folder that holds run folders.")]
Timeout = Annotated[
    float | None, typer.Option(min=0.001, metavar="SECONDS", help="Stop after so long (exit 124).")
]
Progress = Annotated[
    Literal["auto", "live", "plain", "none"],
    typer.Option(metavar="HOW", help="Show what goes on: auto, live, plain or none."),
]
Json = Annotated[bool, typer.Option("--json", help="Data for programs on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing while running.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Show the plan's reasons and the worker's log too.")
]


def note(message: str) -> None:
    """Tell on stderr what was passed over."""
    typer.echo(printable(message), err=True)


def check_seconds(timeout: float | None) -> None:
    """Raise ConfigError for a --timeout that no clock comes to: nan is not less than 0.001."""
    if timeout is not None and not math.isfinite(timeout):
        raise ConfigError(f"--timeout {timeout}: must be seconds, as in --timeout 3600.")


def request(
    *,
    overrides: Sequence[str] = (),
    max_time: str | None = None,
    vram: str | None = None,
    **named: Any,
) -> "Request":
    """A Request from options as they were given; `named` are its fields under their own names."""
    from cell_train.hardware import probe
    from cell_train.planning.cost import timing
    from cell_train.planning.request import Request

    seconds = None if max_time is None else timing.parse_duration(max_time)
    gigabytes = None if vram is None else probe.gigabytes(vram)
    return Request(overrides=tuple(overrides), max_time=seconds, vram=gigabytes, **named)
