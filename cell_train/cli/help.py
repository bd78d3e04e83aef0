"""How --help reads: commands under headings, each with the whole first line of its docstring."""

import inspect
from collections.abc import Callable
from typing import Any

from typer.core import TyperCommand, TyperGroup


def summary(command: Callable[..., Any]) -> str:
    """The first line of a command's docstring."""
    return inspect.cleandoc(command.__doc__ or "").split("\n", 1)[0]


class Group(TyperGroup):
    """Lists its commands under the headings they were added with, in columns that line up."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        width = max(map(len, self.commands))
        rows: dict[str, list[tuple[str, str]]] = {}
        for name, command in self.commands.items():
            heading = getattr(command, "rich_help_panel", None) or "Commands"
            rows.setdefault(heading, []).append((name.ljust(width), command.get_short_help_str()))
        for heading, lines in rows.items():
            with formatter.section(heading):
                formatter.write_dl(lines)


class Command(TyperCommand):
    """Names its required arguments in the usage line without braces around them."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]
