"""What is wrong with a configuration, as people, programs and CI want to be told."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from cell_train.errors import Place, Problem

if TYPE_CHECKING:
    from rich.text import Text

GUTTER = 7  # columns before the line's own text


def show(problems: Iterable[Problem], stream: TextIO) -> None:
    """Each problem with the line it is in, a caret, and the fix."""
    from rich.console import Console

    console = Console(file=stream, highlight=False)
    for problem in problems:
        console.print(_as_text(problem, console.width), soft_wrap=True)


def as_json(problem: Problem) -> dict[str, Any]:
    place = asdict(problem.place)
    return {**place, "key": problem.key, "message": problem.message, "fix": problem.fix}


def as_annotation(problem: Problem) -> str:
    """A workflow command that GitHub shows beside the line."""
    place = problem.place
    where = {"file": place.name, "line": place.line, "col": place.column, "title": "celltrain"}
    if not place.line:
        where = {"file": place.name} if Path(place.name).exists() else {}
    said = str(problem).removeprefix(f"{place}: ") if place.line else str(problem)
    properties = ",".join(f"{key}={_escaped(str(value), ',:')}" for key, value in where.items())
    return f"::error{properties and f' {properties}'}::{_escaped(said)}"


def _escaped(text: str, also: str = "") -> str:
    return "".join(f"%{ord(c):02X}" if c in f"%\r\n{also}" else c for c in text)


def _as_text(problem: Problem, width: int) -> "Text":
    from rich.cells import cell_len
    from rich.text import Text

    place = problem.place
    text = Text.assemble((_visible(f"{place}: "), "bold"), _visible(problem.message))
    if not place.text:
        return text.append(f"; {problem.fix}" if problem.fix else "")
    wide = cell_len(place.text) > len(place.text)  # of characters that take two columns
    before, shown = _excerpt(place, (width - GUTTER - 1) // (2 if wide else 1))
    number = str(place.line) if place.line else ""
    text.append(f"\n{number:>{GUTTER - 3}} | ", "dim").append(shown)
    text.append(f"\n{'':{GUTTER - 3}} | ", "dim").append(" " * cell_len(before))
    return text.append(_visible(f"^ {problem.fix}".rstrip()), "bold red")


def _excerpt(place: Place, width: int) -> tuple[str, str]:
    """(what stands before the column, the line), cut to what can be seen around the column."""
    line, column = _visible(place.text), max(place.column - 1, 0)
    start = max(0, column - width // 2) if len(line) > width else 0
    cut = ("…" if start else "") + line[start : start + width - 2]
    return ("…" if start else "") + line[start:column], cut


def _visible(text: str) -> str:
    """Text from a stranger's file without what would move the cursor or turn the line round."""
    return "".join(
        "→" if c == "\t" else c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text
    )
