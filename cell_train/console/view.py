"""Showing a run while it goes on: a live display on a terminal, plain lines elsewhere."""

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO

from cell_train.console.plain import plain
from cell_train.events import View
from cell_train.formatting import printable


def mode(wanted: str, stream: TextIO, environment: Mapping[str, str] = os.environ) -> str:
    """live, plain or none; `auto` is live only where a person looks on.

    CI=true is set on terminals nobody sees.
    """
    if wanted != "auto":
        return wanted
    watched = stream.isatty() and environment.get("TERM") != "dumb"
    in_ci = environment.get("CI", "").lower() not in ("", "0", "false")
    return "live" if watched and not in_ci else "plain"


@contextlib.contextmanager
def showing(
    how: str,
    stages: Sequence[Mapping[str, Any]],
    stream: TextIO = sys.stderr,
    verbose: bool = False,
    name: str = "",
) -> Iterator[View]:
    """A view of the stages of plan.json, of the run `name`; what it shows goes to `stream`."""
    stages = printable(stages)
    if how == "live":
        from cell_train.console import live

        with live.live(stages, stream, verbose, printable(name)) as view:
            yield lambda event: view(printable(event))
    elif how == "plain":
        view = plain(stages, stream, verbose=verbose)
        yield lambda event: view(printable(event))
    else:
        yield lambda event: None
